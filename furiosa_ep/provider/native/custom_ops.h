#ifndef FURIOSA_EP_PROVIDER_NATIVE_CUSTOM_OPS_H_
#define FURIOSA_EP_PROVIDER_NATIVE_CUSTOM_OPS_H_

#include <span>

#include "furiosa_ep/provider/native/ort.h"

namespace furiosa {

// The domains of the operators that plugins bring, for one ONNX Runtime: with their schemas it
// loads models that have them, and with their kernels the CPU runs what the NPU does not take.
// Valid until the process ends, as sessions and their options may use them until then. Throws Error
// where there is no compiler.
std::span<ort::CustomOpDomain* const> custom_op_domains(const Ort& ort);

// Adds them to session options, unless these have them from an earlier call.
void add_custom_op_domains(const Ort& ort, ort::SessionOptions* options);

}  // namespace furiosa

#endif  // FURIOSA_EP_PROVIDER_NATIVE_CUSTOM_OPS_H_
