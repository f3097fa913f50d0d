#ifndef FURIOSA_EP_PROVIDER_NATIVE_COMPILER_CALLBACKS_H_
#define FURIOSA_EP_PROVIDER_NATIVE_COMPILER_CALLBACKS_H_

// How the provider calls the compiler, which is written in Python and installs itself here
// (furiosa_ep/provider/callbacks.py mirrors these declarations). A C interface, without Python.

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FURIOSA_COMPILER_VERSION 3

// Takes what a callback has to say; valid until the callback returns. Bytes are used before
// furiosa_reply_bytes returns, which is 0, or not 0 where they were refused: the callback then
// returns nonzero, and what was wrong is known already. furiosa_reply_constants gives memory of
// `size` bytes, zero at first, for the constants of the Program that follows, whose bytes then end
// before them; NULL where there is none.
typedef struct FuriosaReply FuriosaReply;
void* furiosa_reply_constants(FuriosaReply* reply, uint64_t size);
int32_t furiosa_reply_bytes(FuriosaReply* reply, const void* data, uint64_t size);
void furiosa_reply_text(FuriosaReply* reply, const char* utf8);

typedef struct FuriosaSettings {
  uint64_t program_cache_size;
  int32_t summary_severity;  // of ONNX Runtime's log; negative: do not log
  int32_t reserved;
} FuriosaSettings;

// Handles are chosen by the compiler and are not 0. A callback that returns nonzero has failed and
// gave the reason as text. All may be called from any thread, at the same time.
typedef struct FuriosaCompiler {
  uint32_t version;  // FURIOSA_COMPILER_VERSION
  uint32_t reserved;
  // A session begins: reads its options.
  int32_t (*open)(const char* const* keys, const char* const* values, uint64_t count,
                  FuriosaSettings* settings, uint64_t* session, FuriosaReply* reply);
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
  // Forgets a session or a partition.
  void (*release)(uint64_t handle);
} FuriosaCompiler;

// Installs a compiler for all sessions of the process, or none: then waits for calls that are in
// progress, up to a second. Copies `compiler`. Returns 0, or -1 for another version.
int32_t furiosa_set_compiler(const FuriosaCompiler* compiler);

#ifdef __cplusplus
}
#endif

#endif  // FURIOSA_EP_PROVIDER_NATIVE_COMPILER_CALLBACKS_H_
