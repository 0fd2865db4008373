// Launcher of the sampling kernels: a token of each row of logits, as ops/sampling.h defines it, without
// sorting whole rows and without the host. A row is the work of a cluster of blocks that keep it in shared
// memory, or of one block where that cannot be (sampling_form). Used by CudaOps. Must not know the model.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/sampling.h"

namespace sheaf::cuda {

/// How a row is worked on.
enum class SamplingForm {
    cluster,  // eight blocks, the row in their shared memory: compute capability 9.0 and later
    block,    // one block, the row in scratch memory
};
/// What this GPU can do for rows of `columns` logits.
SamplingForm sampling_form(int64_t columns);

/// The most likely tokens are found by wide_top_k(), whose limit this is.
bool fits_sampling(int64_t columns, int64_t logprobs);

size_t sampling_scratch_bytes(int64_t rows, int64_t columns, int64_t logprobs, SamplingForm form);

/// See Ops::known_tokens; result i32, in the shape of token_ids. An entry outside `chosen` gives -1.
void known_tokens(const Tensor& token_ids, const Tensor& chosen, const Tensor& result, cudaStream_t stream);

/// logits f32 (rows, columns); `result` made by the caller in the shapes of Sampled.
void sample(const Tensor& logits, const SamplingBatch& batch, const Sampled& result, const Tensor& scratch,
            SamplingForm form, cudaStream_t stream);

}  // namespace sheaf::cuda
