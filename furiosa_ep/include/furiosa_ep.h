/* The C API of furiosa-ep: load a Program, look at it, run it, by itself or on an emulated device;
 * and give it kernels of your own.
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
  FURIOSA_INTERNAL = 3,
  /* What devices answer (docs/devices.md). furiosa_last_error() then begins with DeviceBusy,
   * DeviceNotFound, DeviceTimeout, DeviceLost, DmaError, EccError or OutOfDeviceMemory. */
  FURIOSA_DEVICE_BUSY = 4,
  FURIOSA_DEVICE_NOT_FOUND = 5,
  FURIOSA_DEVICE_TIMEOUT = 6,
  FURIOSA_DEVICE_LOST = 7,
  FURIOSA_DMA_ERROR = 8,
  FURIOSA_ECC_ERROR = 9,
  FURIOSA_OUT_OF_DEVICE_MEMORY = 10
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

/* Types of elements, numbered as in onnx.TensorProto. */
typedef enum furiosa_dtype {
  FURIOSA_F32 = 1,
  FURIOSA_U8 = 2,
  FURIOSA_I8 = 3,
  FURIOSA_I16 = 5,
  FURIOSA_I32 = 6,
  FURIOSA_I64 = 7,
  FURIOSA_BOOL = 9 /* bytes of 0 or 1 */
} furiosa_dtype;

/* An input or output: row-major, `size` bytes in all. */
typedef struct furiosa_binding {
  const char* name; /* UTF-8; valid as long as the Program */
  const int64_t* dims;
  uint32_t rank;
  uint32_t dtype; /* FURIOSA_F32, FURIOSA_U8, ... */
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

/* Devices.
 *
 * An emulated host has cards of two PEs each, which all processes that share its directory see.
 * docs/devices.md says how they behave. Structures begin with their size, as whoever calls knows
 * it, and only grow. */

/* A card, as furiosa_cards_configure() takes it. */
typedef struct furiosa_card {
  uint32_t size; /* sizeof(furiosa_card) */
  uint32_t reserved;
  uint64_t dram_bytes;
  /* What ONNX Runtime shows of the device. */
  const char* const* keys;
  const char* const* values;
  size_t metadata_count;
} furiosa_card;

/* What this process sees from now on: `count` cards, at most 32, on the emulated host in
 * `directory`, which is made; NULL for the default one. Without it there is one card, on the host
 * that $FURIOSA_EMULATED_HOST names. */
FURIOSA_API furiosa_status furiosa_cards_configure(const char* directory, const furiosa_card* cards,
                                                   size_t count) FURIOSA_NOEXCEPT;

/* How many cards this process sees; 0 where the emulated host cannot be used. */
FURIOSA_API size_t furiosa_card_count(void) FURIOSA_NOEXCEPT;

/* Writes the directory of the emulated host; "" where there is none and no other process sees it.
 */
FURIOSA_API furiosa_status furiosa_host_directory(char* path, size_t size) FURIOSA_NOEXCEPT;

/* PEs of a card that work together: npu<card>pe<first_pe>-<last_pe>. */
typedef struct furiosa_device_file {
  uint32_t card;
  uint32_t first_pe;
  uint32_t last_pe;
} furiosa_device_file;

typedef enum furiosa_device_flag {
  /* Other processes may hold the PEs too, if they share them as well. */
  FURIOSA_DEVICE_SHARED = 1
} furiosa_device_flag;

/* Device files that this process holds. */
typedef struct furiosa_device furiosa_device;

/* Holds device files, of which runs use one after the other, until furiosa_device_close() or the
 * end of the process. A PE that has failed is reset. On failure *device is NULL. */
FURIOSA_API furiosa_status furiosa_device_open(const furiosa_device_file* files, size_t count,
                                               uint32_t flags,
                                               furiosa_device** device) FURIOSA_NOEXCEPT;

/* Closes a device; placements on it keep it. NULL is allowed. */
FURIOSA_API void furiosa_device_close(furiosa_device* device) FURIOSA_NOEXCEPT;

/* A Program in the DRAM of a device. */
typedef struct furiosa_placement furiosa_placement;

/* Puts a Program into the DRAM of each device file. The Program may be freed before the placement,
 * which is to be freed with furiosa_placement_free(). */
FURIOSA_API furiosa_status furiosa_program_place(const furiosa_program* program,
                                                 const furiosa_device* device,
                                                 furiosa_placement** placement) FURIOSA_NOEXCEPT;

/* Frees a placement that no thread is running. NULL is allowed. */
FURIOSA_API void furiosa_placement_free(furiosa_placement* placement) FURIOSA_NOEXCEPT;

/* As furiosa_program_run(), on the device: waits for its turn, counts the run and meets the
 * device's faults. Where it hangs, the run ends after `timeout` seconds. */
FURIOSA_API furiosa_status furiosa_placement_run(furiosa_placement* placement,
                                                 const void* const* inputs, size_t input_count,
                                                 void* const* outputs, size_t output_count,
                                                 double timeout) FURIOSA_NOEXCEPT;

typedef enum furiosa_fault {
  FURIOSA_FAULT_HANG = 0,            /* a run never ends */
  FURIOSA_FAULT_LOST = 1,            /* the device disappears */
  FURIOSA_FAULT_DMA_ERROR = 2,       /* data cannot be moved */
  FURIOSA_FAULT_ECC_CORRECTED = 3,   /* a flipped bit is found and corrected */
  FURIOSA_FAULT_ECC_UNCORRECTED = 4, /* flipped bits are found */
  FURIOSA_FAULT_OVERHEAT = 5         /* the clock is throttled */
} furiosa_fault;

/* As a number of times: until the fault is cleared. */
#define FURIOSA_ALWAYS 1023

typedef enum furiosa_fault_flag {
  /* For runs of this process only. */
  FURIOSA_FAULT_OWN = 1
} furiosa_fault_flag;

/* Lets the next `times` runs on a PE meet a fault; 0 takes it back. */
FURIOSA_API furiosa_status furiosa_fault_inject(uint32_t card, uint32_t pe, furiosa_fault fault,
                                                uint32_t times, uint32_t flags) FURIOSA_NOEXCEPT;

/* Takes back all faults that have not struck. */
FURIOSA_API furiosa_status furiosa_faults_clear(uint32_t card, uint32_t pe,
                                                uint32_t flags) FURIOSA_NOEXCEPT;

/* Makes a PE that has failed work again; runs that hang on it end with an error. */
FURIOSA_API furiosa_status furiosa_pe_reset(uint32_t card, uint32_t pe) FURIOSA_NOEXCEPT;

/* What runs on a PE add up to. A run on two fused PEs counts on both, its bytes on the first. */
typedef struct furiosa_counters {
  uint64_t executions;
  uint64_t cycles; /* modelled, of the device's clock; also the next three */
  uint64_t compute_cycles;
  uint64_t dma_cycles;
  uint64_t io_cycles;
  uint64_t bytes_in;
  uint64_t bytes_out;
  uint64_t failures;
} furiosa_counters;

typedef enum furiosa_hold {
  FURIOSA_HOLD_NONE = 0,
  FURIOSA_HOLD_SHARED = 1,
  FURIOSA_HOLD_EXCLUSIVE = 2
} furiosa_hold;

typedef struct furiosa_pe {
  uint32_t size;   /* sizeof(furiosa_pe), set by the caller */
  uint32_t health; /* 0 good, 1 hanging; has failed: 2 hung, 3 lost, 4 DMA error, 5 ECC error */
  uint32_t resets;
  uint32_t hold;     /* a furiosa_hold: this process's own */
  int64_t holder;    /* the id of another process that holds it, or 0; -1: it has none here */
  uint32_t armed[6]; /* how many times each furiosa_fault will strike */
  uint64_t struck[6];
  furiosa_counters counters; /* of all processes there ever were */
} furiosa_pe;

FURIOSA_API furiosa_status furiosa_pe_status(uint32_t card, uint32_t pe,
                                             furiosa_pe* status) FURIOSA_NOEXCEPT;

/* A process that uses devices, or has used them and still runs. */
typedef struct furiosa_client {
  uint32_t slot;
  uint32_t reserved;
  int64_t pid;
  uint64_t started;  /* using devices, in nanoseconds since 1970 */
  char command[256]; /* UTF-8, may be cut */
} furiosa_client;

/* Writes up to `capacity` clients; there are at most 256. */
FURIOSA_API furiosa_status furiosa_clients(furiosa_client* clients, size_t capacity,
                                           size_t* count) FURIOSA_NOEXCEPT;

/* What a client uses. */
typedef struct furiosa_usage {
  uint32_t size;             /* sizeof(furiosa_usage), set by the caller */
  uint32_t hold;             /* a furiosa_hold */
  uint64_t dram_bytes;       /* of the card */
  furiosa_counters counters; /* of the PE, since the client came */
} furiosa_usage;

FURIOSA_API furiosa_status furiosa_client_usage(uint32_t slot, uint32_t card, uint32_t pe,
                                                furiosa_usage* usage) FURIOSA_NOEXCEPT;

/* Eight words that processes share about a card, all from one exchange. The first one throttles its
 * clock where it is not 0: until that time, in nanoseconds since 1970, runs count as many more
 * cycles as a clock of word % FURIOSA_THROTTLE_STEP parts in 1000 is slower. The last one counts
 * exchanges. The others mean nothing to the library. */
#define FURIOSA_THROTTLE_STEP 1024
FURIOSA_API furiosa_status furiosa_card_thermal(uint32_t card, uint64_t* words,
                                                size_t count) FURIOSA_NOEXCEPT;

/* Writes the words, but for the last one, where there was no exchange since `expected` was read,
 * and no other process is just doing it; *exchanged says whether. Waits for nobody. */
FURIOSA_API furiosa_status furiosa_card_exchange_thermal(uint32_t card, const uint64_t* expected,
                                                         const uint64_t* desired, size_t count,
                                                         int32_t* exchanged) FURIOSA_NOEXCEPT;

/* Kernels.
 *
 * A kernel computes one command of a Program: it is a C function that takes a frame, which holds
 * all that it may use. A shared library with such a function needs this header and nothing else: it
 * does not link with libfuriosa_ep, and whoever knows its symbol registers it.
 *
 *   #include "furiosa_ep.h"
 *
 *   int32_t hello_invert(const furiosa_kernel_frame* frame) {
 *     const furiosa_tensor *x = &frame->inputs[0], *y = &frame->outputs[0];
 *     const uint8_t* from = x->data;
 *     uint8_t* to = y->data;
 *     int64_t count = 1, i;
 *     if (x->rank != y->rank) return furiosa_fail(frame, "x and y are of different ranks");
 *     for (i = 0; i < y->rank; ++i) {
 *       if (x->dims[i] != y->dims[i]) return furiosa_fail(frame, "x and y are of different dims");
 *       count *= y->dims[i];
 *     }
 *     for (i = 0; i < count; ++i) to[i] = 255 - from[i];
 *     return 0;
 *   }
 *
 * What holds when a kernel is called:
 * - Operands and result have the types that the registered `operands` allow; an operand is absent
 *   only where they say that it may be, and the result has elements. All else a kernel checks for
 *   itself before it relies on it, and fails where it does not hold: how the shapes fit together,
 *   the values of attributes, the size of the workspace. A Program may come from a file.
 * - Operands and result are row-major, so that strides need no look, unless the kernel is
 *   FURIOSA_KERNEL_STRIDED.
 * - No operand has bytes between the first and the last one of the result. What is in the result
 *   before is unspecified.
 * - It runs without Python's lock, on a thread of whoever runs the Program.
 *
 * What a kernel must keep to:
 * - It is re-entrant: several threads call it at the same time, with different frames. It keeps
 *   nothing between calls, and none of the frame's pointers.
 * - It reads the elements of the operands, writes those of the result and the bytes of its
 *   workspace, and touches no other memory of the frame's but `error`.
 * - It throws nothing (C++) out of itself or its tasks, and does not call Python, unless it is
 *   FURIOSA_KERNEL_HOLDS_GIL.
 * - Equal frames give equal bits, whatever the number of threads.
 *
 * Promises. Structures only grow, at their ends: what is compiled with this header goes on working
 * with every later library of the same FURIOSA_KERNEL_VERSION, and `size` tells how much of a
 * structure there is. The version changes only where something gets another meaning; a library
 * refuses kernels of another version when they are registered. */
#define FURIOSA_KERNEL_VERSION 1

/* A tensor of a frame. Every 8-bit tensor of the NPU is FURIOSA_U8: an int8 value v is held as v +
 * 128 (with its top bit flipped), and its zero point is given as zero point + 128. So a kernel that
 * computes with value - zero_point serves both. */
typedef struct furiosa_tensor {
  /* The element with all indices zero, aligned to its type; NULL for an operand that is absent. */
  void* data;
  const int64_t* dims;    /* outermost first; a dim may be 0 for operands */
  const int64_t* strides; /* in elements; may be 0 or negative, but not 0 for a result */
  uint32_t rank;          /* 0 (one element) to 8 */
  uint32_t dtype;         /* FURIOSA_F32, FURIOSA_U8, ...; 0 for an operand that is absent */
  /* The value of an element q is (q - zero_point) * scale. 1 and 0 where it is not quantised. */
  float scale;
  int32_t zero_point;
} furiosa_tensor;

/* An attribute: which member holds it is what its declaration says. */
typedef union furiosa_attribute {
  int64_t integer;
  double real;
} furiosa_attribute;

/* A part of the work of a kernel. */
typedef void (*furiosa_task)(void* context, size_t index);

/* What a kernel is called with. Valid until it returns. */
typedef struct furiosa_kernel_frame {
  uint32_t version; /* FURIOSA_KERNEL_VERSION of the caller */
  uint32_t size;    /* sizeof(furiosa_kernel_frame) of the caller */
  /* As many as the registered `operands` have before the arrow. */
  const furiosa_tensor* inputs;
  size_t input_count;
  /* As many as they have behind it: one. */
  const furiosa_tensor* outputs;
  size_t output_count;
  /* In the order of the registered `attributes`. */
  const furiosa_attribute* attributes;
  size_t attribute_count;
  /* Memory of this call alone, aligned to 64 bytes, contents unspecified. Its size is what the
   * plugin asked for when the Program was compiled. */
  void* workspace;
  size_t workspace_size;
  /* Where a kernel that fails says why: UTF-8 that ends with a NUL, "" before the call. */
  char* error;
  size_t error_size;
  /* Calls task(context, i) for every i below `count`, in any order, on all threads that the Program
   * runs with, and returns when all are done. `frame` is the kernel's own. Not to be called from a
   * task. Make tasks of some 10 us or more: shorter ones do not pay. */
  void (*parallel_for)(const struct furiosa_kernel_frame* frame, size_t count, furiosa_task task,
                       void* context);
  void* executor; /* of parallel_for; nothing for kernels */
  /* How many tasks can run at the same time; at least 1. */
  size_t concurrency;
} furiosa_kernel_frame;

/* Returns 0, or another number where it fails: then the run ends with an error that names plugin,
 * kernel and node, and has the text in frame->error. */
typedef int32_t (*furiosa_kernel_function)(const furiosa_kernel_frame* frame);

/* Puts a text into frame->error, cut where it is too long, and returns 1. */
static inline int32_t furiosa_fail(const furiosa_kernel_frame* frame, const char* text) {
  size_t i = 0;
  if (frame->error_size == 0) return 1;
  for (; text[i] != '\0' && i + 1 < frame->error_size; ++i) frame->error[i] = text[i];
  frame->error[i] = '\0';
  return 1;
}

typedef enum furiosa_kernel_flag {
  /* It takes operands and results of any strides. Otherwise a Program in which they are not
   * row-major is refused; the compiler makes none. */
  FURIOSA_KERNEL_STRIDED = 1,
  /* It takes Python's lock, so that threads wait for each other. For information only. */
  FURIOSA_KERNEL_HOLDS_GIL = 2
} furiosa_kernel_flag;

/* A kernel as a plugin registers it. Texts are UTF-8. */
typedef struct furiosa_kernel {
  uint32_t size;    /* sizeof(furiosa_kernel) */
  uint32_t version; /* FURIOSA_KERNEL_VERSION */
  const char* plugin;
  /* Up to 128 letters, digits and underscores, such as "HELLO_INVERT". No other plugin may have it,
   * nor the NPU itself. */
  const char* opcode;
  /* Such as "x:u8 gamma:f32? -> y:u8|f32": names, the types that are allowed (f32, u8, i8, i16,
   * i32, i64, bool), `?` for an operand that may be absent; one result behind the arrow. */
  const char* operands;
  /* Such as "axis epsilon:f": integers, and reals with `:f`. "" for none. */
  const char* attributes;
  /* The instruction set that `run` needs, named as by furiosa_isa_name(); "scalar" for none. An
   * opcode may be registered once for each, alike but for `run`: a Program takes the best that is
   * allowed when it is loaded. */
  const char* isa;
  uint32_t flags;    /* FURIOSA_KERNEL_STRIDED | ... */
  uint32_t reserved; /* 0 */
  furiosa_kernel_function run;
} furiosa_kernel;

/* Makes a kernel known to Programs that are loaded from now on. Of `kernel`, nothing is needed
 * afterwards but the function, which must stay callable until the kernel is unregistered.
 * FURIOSA_INVALID where it is not as described above, or its opcode is taken. */
FURIOSA_API furiosa_status furiosa_kernel_register(const furiosa_kernel* kernel) FURIOSA_NOEXCEPT;

/* Forgets the kernel that was registered with this plugin, opcode and isa; on success nothing calls
 * its function any more. FURIOSA_INVALID where there is none, or a Program that is loaded uses it.
 */
FURIOSA_API furiosa_status furiosa_kernel_unregister(const furiosa_kernel* kernel) FURIOSA_NOEXCEPT;

/* Profiles: what all runs of the process take on the host, and on the modelled device. A profile
 * keeps up to 1,000,000 events and counts what comes after. $FURIOSA_PROFILER_OUTPUT_PATH, which
 * furiosa_program_load reads, writes one to a file. */
typedef struct furiosa_profile furiosa_profile;

/* What of a profile is wanted: one or both. */
typedef enum furiosa_resource {
  FURIOSA_RESOURCE_CPU = 1,
  FURIOSA_RESOURCE_NPU = 2
} furiosa_resource;

/* A profile that records nothing yet, to be freed with furiosa_profile_free. */
FURIOSA_API furiosa_status furiosa_profile_create(furiosa_profile** profile) FURIOSA_NOEXCEPT;

FURIOSA_API void furiosa_profile_free(furiosa_profile* profile) FURIOSA_NOEXCEPT;

/* From now on the profile records (1), or not (0). Runs count that begin in between. */
FURIOSA_API furiosa_status furiosa_profile_record(furiosa_profile* profile,
                                                  int32_t on) FURIOSA_NOEXCEPT;

/* Adds what the calling thread did from `start` to `end`, in nanoseconds of CLOCK_MONOTONIC. */
FURIOSA_API furiosa_status furiosa_profile_span(furiosa_profile* profile, const char* name,
                                                int64_t start, int64_t end) FURIOSA_NOEXCEPT;

/* Takes a part of a text. */
typedef void (*furiosa_writer)(void* context, const char* data, size_t size);

/* Calls write(context, data, size) with the profile as a Chrome trace, in one part or more. */
FURIOSA_API furiosa_status furiosa_profile_write(const furiosa_profile* profile, uint32_t resources,
                                                 furiosa_writer write,
                                                 void* context) FURIOSA_NOEXCEPT;

#if defined(__cplusplus)
} /* extern "C" */
#endif

#endif /* FURIOSA_EP_H_ */
