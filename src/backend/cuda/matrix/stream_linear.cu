// The streaming kernel of linear layers.
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/matrix/launch.h"
#include "backend/cuda/matrix/stream.cuh"
#include "backend/cuda/matrix/stream.h"

namespace sheaf::cuda {
namespace {

struct LinearCall {
    DeviceMatrix weight;
    const __nv_bfloat16* x;
    int64_t x_stride;
    int tokens;
    void* y;
    bool wide;  // f32 results
    int64_t y_stride;
    int slots;
    Fill fill;
};

__device__ void store_result(const LinearCall& call, int64_t n, int column, float value) {
    if (n >= call.weight.out || column >= call.tokens) return;
    if (call.weight.bias) value += call.weight.bias[n];
    const int64_t at = column * call.y_stride + n;
    if (call.wide)
        static_cast<float*>(call.y)[at] = value;
    else
        static_cast<__nv_bfloat16*>(call.y)[at] = __float2bfloat16_rn(value);
}

template <class Format, int most_slots>
__global__ void __launch_bounds__(stream_threads, 1) stream_linear(const __grid_constant__ LinearCall call) {
    extern __shared__ __align__(128) uint8_t shared[];
    const ItemSpace space = item_space<Format>(call.weight);
    StreamMemory memory(shared, call.slots, ring_slot_bytes<Format>(call.weight), call.fill);
    const int begin = first_item(space.per_tile, blockIdx.x),
              end = first_item(space.per_tile, blockIdx.x + 1);
    if (threadIdx.x / 32 >= stream_warps) {  // weights depend on no kernel
        for (int item = begin; item < end; ++item)
            for (int s = 0; s < space.slots; ++s)
                produce_slot(Format{}, memory.ring, call.fill, call.weight, space, call.weight.data, item, s);
        return;
    }
    allow_next_kernel();
    wait_for_previous_kernel();
    Finisher finisher{memory.sums};
    consume_items<Format, most_slots, false>(
        memory.ring, call.weight, space, begin, end, finisher, true,
        [&](int, int g) { return g < call.tokens ? call.x + g * call.x_stride : nullptr; },
        [&](int, int block, float4 sums) {
            const int g = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
            const int64_t n = static_cast<int64_t>(block) * 16 + g;
            store_result(call, n, column, sums.x);
            store_result(call, n, column + 1, sums.y);
            store_result(call, n + 8, column, sums.z);
            store_result(call, n + 8, column + 1, sums.w);
        });
}

template <class Format, int most_slots>
void launch(LinearCall call, cudaStream_t stream) {
    const uint32_t slot = ring_slot_bytes<Format>(call.weight);
    const DeviceLimits& limits = device_limits();
    const int room = static_cast<int>((limits.block_memory - StreamMemory::fixed_bytes) / slot);
    call.slots = room < max_ring_slots ? room : max_ring_slots;
    const ItemSpace space = item_space<Format>(call.weight);
    const int blocks = space.per_tile < limits.multiprocessors ? space.per_tile : limits.multiprocessors;
    launch_kernel(stream_linear<Format, most_slots>, static_cast<unsigned>(blocks), stream_threads,
                  StreamMemory::fixed_bytes + static_cast<uint32_t>(call.slots) * slot, stream,
                  "stream_linear", call);
}

/// Instances by the slots a row fills.
template <class Format>
void launch_sized(const LinearCall& call, cudaStream_t stream) {
    constexpr int step = Format::packed ? 1 : 4;
    SHEAF_CHECK(call.weight.in <= max_stream_inputs, "{} inputs", call.weight.in);
    if (call.weight.in <= 2048) return launch<Format, step>(call, stream);
    if (call.weight.in <= 4096) return launch<Format, 2 * step>(call, stream);
    launch<Format, 4 * step>(call, stream);
}

}  // namespace

void launch_stream_linear(const Tensor& x, const DeviceMatrix& weight, const Tensor& y, cudaStream_t stream) {
    const LinearCall call{weight,         static_cast<const __nv_bfloat16*>(x.raw()),
                          x.row_stride(), static_cast<int>(x.size(0)),
                          y.raw(),        y.dtype() == DType::f32,
                          y.row_stride(), 0,
                          stream_fill()};
    if (weight.store != Store::int4) return launch_sized<Bf16Format>(call, stream);
    if (is_simple(weight)) return launch_sized<Int4Format<true>>(call, stream);
    launch_sized<Int4Format<false>>(call, stream);
}

}  // namespace sheaf::cuda
