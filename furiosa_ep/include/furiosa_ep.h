/* The C API of furiosa-ep: load a Program, look at it, run it.
 *
 * Every function may be called from any thread. Functions that can fail return a furiosa_status;
 * furiosa_last_error() then says what, where, and what is allowed. Nothing here throws. */
#ifndef FURIOSA_EP_H_
#define FURIOSA_EP_H_

#include <stddef.h>
#include <stdint.h>

/* The version of furiosa-ep: the library, the Python package and the distribution have this one. */
#define FURIOSA_EP_VERSION "0.1.0"

#if defined(__cplusplus)
#define FURIOSA_NOEXCEPT noexcept
extern "C" {
#else
#define FURIOSA_NOEXCEPT
#endif
#if defined(__GNUC__)
#define FURIOSA_API __attribute__((visibility("default")))
#else
#define FURIOSA_API
#endif

typedef enum furiosa_status {
  FURIOSA_OK = 0,
  /* An argument or a Program that cannot be accepted. */
  FURIOSA_INVALID = 1,
  FURIOSA_OUT_OF_MEMORY = 2,
  /* A mistake inside the library. */
  FURIOSA_INTERNAL = 3
} furiosa_status;

/* Why the last call on this thread that returned another status than FURIOSA_OK did so. Valid until
 * the next such call on this thread. */
FURIOSA_API const char* furiosa_last_error(void) FURIOSA_NOEXCEPT;

/* FURIOSA_EP_VERSION of the library that was loaded. */
FURIOSA_API const char* furiosa_version(void) FURIOSA_NOEXCEPT;

/* The instruction set that kernels are chosen for: "scalar"; on x86-64 "avx2", "avxvnni" or
 * "avx512vnni"; on AArch64 "neon". */
FURIOSA_API const char* furiosa_isa_name(void) FURIOSA_NOEXCEPT;

/* Why the environment variable FURIOSA_ISA could not be honoured, or NULL. */
FURIOSA_API const char* furiosa_isa_problem(void) FURIOSA_NOEXCEPT;

/* Chooses the instruction set for Programs loaded from now on; NULL goes back to the default.
 * For tests. FURIOSA_INVALID where the CPU lacks it. */
FURIOSA_API furiosa_status furiosa_set_isa(const char* name) FURIOSA_NOEXCEPT;

/* The checksum of a Program's bytes (XXH64, seed 0). */
FURIOSA_API uint64_t furiosa_checksum(const void* data, size_t size) FURIOSA_NOEXCEPT;

/* A Program, validated and prepared for this machine. */
typedef struct furiosa_program furiosa_program;

/* Loads the Program in `data`, of which nothing is needed afterwards. On success `*program` is to
 * be freed with furiosa_program_free; otherwise it is NULL. */
FURIOSA_API furiosa_status furiosa_program_load(const void* data, size_t size,
                                                furiosa_program** program) FURIOSA_NOEXCEPT;

/* Frees a Program that no thread is running. NULL is allowed. */
FURIOSA_API void furiosa_program_free(furiosa_program* program) FURIOSA_NOEXCEPT;

/* An input or output: row-major, `size` bytes in all. */
typedef struct furiosa_binding {
  const char* name; /* UTF-8; valid as long as the Program */
  const int64_t* dims;
  uint32_t rank;
  uint32_t dtype; /* numbered as in onnx.TensorProto: 1 float, 2 uint8, 3 int8, ... */
  size_t size;
} furiosa_binding;

FURIOSA_API size_t furiosa_program_input_count(const furiosa_program* program) FURIOSA_NOEXCEPT;
FURIOSA_API size_t furiosa_program_output_count(const furiosa_program* program) FURIOSA_NOEXCEPT;
FURIOSA_API furiosa_status furiosa_program_input(const furiosa_program* program, size_t index,
                                                 furiosa_binding* binding) FURIOSA_NOEXCEPT;
FURIOSA_API furiosa_status furiosa_program_output(const furiosa_program* program, size_t index,
                                                  furiosa_binding* binding) FURIOSA_NOEXCEPT;

/* Runs a Program on the calling thread. inputs[i] and outputs[i] hold the bytes of the i-th
 * binding, aligned to its elements; outputs overlap nothing. Several threads may run one Program at
 * once. */
FURIOSA_API furiosa_status furiosa_program_run(const furiosa_program* program,
                                               const void* const* inputs, size_t input_count,
                                               void* const* outputs,
                                               size_t output_count) FURIOSA_NOEXCEPT;

FURIOSA_API size_t furiosa_program_command_count(const furiosa_program* program) FURIOSA_NOEXCEPT;

/* Runs a Program `rounds` times on `threads` threads, of which those beside the calling one spin
 * between commands. nanoseconds[r * furiosa_program_command_count(program) + i] becomes what
 * command i took in round r. Inputs and outputs as for furiosa_program_run. */
FURIOSA_API furiosa_status furiosa_program_profile(const furiosa_program* program,
                                                   const void* const* inputs, size_t input_count,
                                                   void* const* outputs, size_t output_count,
                                                   size_t threads, size_t rounds,
                                                   int64_t* nanoseconds) FURIOSA_NOEXCEPT;

#if defined(__cplusplus)
} /* extern "C" */
#endif

#endif /* FURIOSA_EP_H_ */
