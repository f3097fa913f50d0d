#ifndef FURIOSA_EP_PROVIDER_NATIVE_COMPILER_CALLBACKS_H_
#define FURIOSA_EP_PROVIDER_NATIVE_COMPILER_CALLBACKS_H_

// How the provider calls the compiler, which is written in Python and installs itself here
// (furiosa_ep/provider/callbacks.py mirrors these declarations). A C interface, without Python.

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FURIOSA_COMPILER_VERSION 5

// Takes what a callback has to say; valid until the callback returns. Bytes are used before
// furiosa_reply_bytes returns, which is 0, or not 0 where they were refused: the callback then
// returns nonzero, and what was wrong is known already. furiosa_reply_constants gives memory of
// `size` bytes, zero at first, for the constants of the Program that follows, whose bytes then end
// before them; NULL where there is none.
typedef struct FuriosaReply FuriosaReply;
void* furiosa_reply_constants(FuriosaReply* reply, uint64_t size);
int32_t furiosa_reply_bytes(FuriosaReply* reply, const void* data, uint64_t size);
void furiosa_reply_text(FuriosaReply* reply, const char* utf8);

// A tensor, or what is known of one. Types of elements and attributes are numbered as in ONNX.
typedef struct FuriosaTensor {
  const void* data;            // NULL where only the type is meant, or there are no elements
  const int64_t* dims;         // -1: not known
  const char* const* symbols;  // the name of each dim that is -1, "" where it has none, or NULL
  int32_t rank;                // -1: not known
  int32_t dtype;               // 0: an optional value that is absent
} FuriosaTensor;

typedef struct FuriosaAttribute {
  const char* name;
  const void* data;  // int64, float, characters, or one FuriosaTensor; NULL for an unexpected type
  uint64_t count;
  int32_t type;
  int32_t reserved;
} FuriosaAttribute;

// An input or output of an operator in a combination of types.
typedef struct FuriosaOperand {
  int32_t dtype;     // 0: any
  int32_t presence;  // 0: required, 1: optional, 2: variadic
  int32_t least;     // how many of a variadic one there must be
  int32_t source;    // of an output: the input whose type it has, or -1
} FuriosaOperand;

typedef struct FuriosaAttributeType {
  const char* name;
  int32_t type;
  int32_t reserved;
} FuriosaAttributeType;

// An operator of a plugin's own domain, in one combination of types.
typedef struct FuriosaOperator {
  uint64_t handle;
  const char* domain;
  const char* type;
  const FuriosaOperand* inputs;
  const FuriosaOperand* outputs;
  const FuriosaAttributeType* attributes;
  uint32_t input_count;
  uint32_t output_count;
  uint32_t attribute_count;
  int32_t since;
  int32_t infers_shapes;  // 0: all outputs have the shape of the first input
  int32_t reserved;
} FuriosaOperator;

// A node that is to run on the CPU.
typedef struct FuriosaNode {
  const char* name;
  const char* const* outputs;  // names, "" for one that is not wanted
  const int32_t* output_dtypes;
  const FuriosaAttribute* attributes;
  uint64_t output_count;
  uint64_t attribute_count;
} FuriosaNode;

// Both return 0, or not 0 where what they got was refused, as furiosa_reply_bytes does. An output
// is described by `tensor`; its memory is written to `data` where the callback computes: NULL where
// it is not wanted or has no elements.
int32_t furiosa_reply_operator(FuriosaReply* reply, const FuriosaOperator* one);
int32_t furiosa_reply_output(FuriosaReply* reply, uint64_t index, const FuriosaTensor* tensor,
                             void** data);

typedef struct FuriosaSettings {
  uint64_t program_cache_size;
  int32_t summary_severity;  // of ONNX Runtime's log; negative: do not log
  int32_t reserved;
  double run_timeout;  // seconds after which a run that hangs ends
  void* device;        // a furiosa_device, which the provider closes
} FuriosaSettings;

// Handles are chosen by the compiler and are not 0. A callback that returns nonzero has failed and
// gave the reason as text. All may be called from any thread, at the same time.
typedef struct FuriosaCompiler {
  uint32_t version;  // FURIOSA_COMPILER_VERSION
  uint32_t reserved;
  // A session begins: reads its options and holds its device. `cards` are those that ONNX Runtime
  // has chosen.
  int32_t (*open)(const char* const* keys, const char* const* values, uint64_t count,
                  const uint32_t* cards, uint64_t card_count, FuriosaSettings* settings,
                  uint64_t* session, FuriosaReply* reply);
  // Bytes: an int64 that tells apart sessions which compile equal partitions differently, then
  // int64 per partition its number of nodes and their indices. Text: the summary line.
  int32_t (*partition)(uint64_t session, const void* model, uint64_t size, FuriosaReply* reply);
  // Bytes: the Program if it is the same for all runs, otherwise none. The model's external data
  // may be read during the call only. `shapes` are those of the inputs: each as its rank and its
  // dims, -1 for a dim that is not known (and rank 0 for a rank that is not).
  int32_t (*compile)(uint64_t session, const void* model, uint64_t size, const int64_t* shapes,
                     uint64_t count, uint64_t* partition, FuriosaReply* reply);
  // Bytes: the Program for these input shapes.
  int32_t (*specialize)(uint64_t partition, const int64_t* shapes, uint64_t count,
                        FuriosaReply* reply);
  // Forgets a session, a partition or a kernel.
  void (*release)(uint64_t handle);
  // Operators: those of plugins' own domains, all combinations of types of an operator in sequence,
  // unless they are those of `generation`, which is set to theirs.
  int32_t (*operators)(uint64_t* generation, FuriosaReply* reply);
  // Outputs: as far as their shapes follow from those of the inputs.
  int32_t (*infer)(uint64_t one, const FuriosaTensor* inputs, uint64_t input_count,
                   const FuriosaAttribute* attributes, uint64_t attribute_count,
                   FuriosaReply* reply);
  // What runs a node of an operator on the CPU; `session` is 0 where it has no provider of ours.
  int32_t (*create_kernel)(uint64_t one, const FuriosaNode* node, uint64_t session,
                           uint64_t* kernel, FuriosaReply* reply);
  // Outputs: all that the node has.
  int32_t (*compute)(uint64_t kernel, const FuriosaTensor* inputs, uint64_t count,
                     FuriosaReply* reply);
} FuriosaCompiler;

// Installs a compiler for all sessions of the process, or none: then waits for calls that are in
// progress, up to a second. Copies `compiler`. Returns 0, or -1 for another version.
int32_t furiosa_set_compiler(const FuriosaCompiler* compiler);

#ifdef __cplusplus
}
#endif

#endif  // FURIOSA_EP_PROVIDER_NATIVE_COMPILER_CALLBACKS_H_
