#include "backend/cuda/joined.h"

#include "backend/cuda/cuda_error.h"

namespace sheaf::cuda {
namespace {

constexpr size_t counter_bytes = 256;

bool alike(const DeviceMatrix& a, const DeviceMatrix& b) {
    return a.store == b.store && a.scale == b.scale && a.has_zeros == b.has_zeros &&
           a.unit_groups == b.unit_groups && a.unit_bytes == b.unit_bytes && a.units == b.units &&
           a.in == b.in && a.row_stride == b.row_stride;
}

size_t row_bytes(const DeviceMatrix& matrix) {
    return static_cast<size_t>(matrix.row_stride) * (matrix.store == Store::f32 ? 4 : 2);
}

/// Without the rows that fill up the last block: rows of numbers can be cut anywhere, packed ones between
/// blocks.
size_t own_bytes(const DeviceMatrix& matrix) {
    return matrix.store == Store::int4 ? matrix.weight_bytes()
                                       : static_cast<size_t>(matrix.out) * row_bytes(matrix);
}

bool can_follow(const DeviceMatrix& matrix) {
    const bool whole_blocks = matrix.store != Store::int4 || matrix.out % DeviceMatrix::block_rows == 0;
    return !matrix.bias && whole_blocks && own_bytes(matrix) % 256 == 0;
}

bool alike(const DeviceExperts& a, const DeviceExperts& b) {
    return alike(a.gate_up, b.gate_up) && alike(a.down, b.down) && a.gate_up.out == b.gate_up.out &&
           a.down.out == b.down.out && a.gate_up_stride == b.gate_up_stride &&
           a.down_stride == b.down_stride && a.hidden == b.hidden && a.intermediate == b.intermediate;
}

Buffer zeroed(const AllocateMemory& allocate, cudaStream_t stream) {
    Buffer memory = allocate(counter_bytes);
    check(cudaMemsetAsync(memory.data(), 0, counter_bytes, stream), "counters of a weight");
    return memory;
}

}  // namespace

void join_linears(std::span<Linear* const> parts, const AllocateMemory& allocate, cudaStream_t stream) {
    size_t bytes = 0;
    const DeviceMatrix first = cuda_linear(*parts.front()).matrix();
    for (const Linear* part : parts) {
        const DeviceMatrix& matrix = cuda_linear(*part).matrix();
        if (!alike(first, matrix) || !can_follow(matrix)) return;
        bytes += own_bytes(matrix);
    }
    // Kernels read whole blocks of rows, of the last part too.
    const size_t filling = first.store == Store::int4 ? 0 : 2 * DeviceMatrix::block_rows * row_bytes(first);
    const Buffer memory = allocate(bytes + filling);
    auto* place = static_cast<uint8_t*>(memory.data());
    check(cudaMemsetAsync(place + bytes, 0, filling, stream), "joining weights");
    auto joined = std::make_shared<JoinedLinears>();
    DeviceMatrix whole = first;
    whole.data = place;
    whole.out = 0;
    std::vector<Linear> replaced;
    for (size_t i = 0; i < parts.size(); ++i) {
        DeviceMatrix matrix = cuda_linear(*parts[i]).matrix();
        const size_t size = own_bytes(matrix);
        check(cudaMemcpyAsync(place, matrix.data, size, cudaMemcpyDeviceToDevice, stream), "joining weights");
        matrix.data = place;
        joined->first_columns.push_back(whole.out);
        whole.out += matrix.out;
        Buffer own(place, size, [memory](void*) {});
        replaced.push_back(
            std::make_shared<JoinedPart>(matrix, std::move(own), zeroed(allocate, stream), joined, i));
        place += size;
    }
    whole.blocks =
        static_cast<int32_t>((whole.out + DeviceMatrix::block_rows - 1) / DeviceMatrix::block_rows);
    joined->whole = std::make_shared<CudaLinear>(whole, memory, zeroed(allocate, stream));
    check(cudaStreamSynchronize(stream), "joining weights");
    for (size_t i = 0; i < parts.size(); ++i) *parts[i] = std::move(replaced[i]);
}

void join_shared_expert(const Experts& routed, Experts& shared, const AllocateMemory& allocate,
                        cudaStream_t stream) {
    const auto& many = cuda_experts(routed);
    const DeviceExperts &all = many.device(), &one = cuda_experts(shared).device();
    if (!alike(all, one) || !many.has_spare_place()) return;
    const auto place = [&](const DeviceMatrix& first, size_t stride) {
        return const_cast<uint8_t*>(first.data) + stride * static_cast<size_t>(all.count);
    };
    DeviceExperts own = one, with = all;
    own.gate_up.data = place(all.gate_up, all.gate_up_stride);
    own.down.data = place(all.down, all.down_stride);
    ++with.count;
    const auto copy = [&](const DeviceMatrix& from, const DeviceMatrix& to, size_t bytes) {
        check(cudaMemcpyAsync(const_cast<uint8_t*>(to.data), from.data, bytes, cudaMemcpyDeviceToDevice,
                              stream),
              "moving a shared expert");
    };
    copy(one.gate_up, own.gate_up, one.gate_up_stride);
    copy(one.down, own.down, one.down_stride);
    const auto view = [&](const DeviceExperts& experts) {  // keeps the routed experts' memory
        const size_t bytes = static_cast<size_t>(experts.count) * (all.gate_up_stride + all.down_stride);
        return Buffer(const_cast<uint8_t*>(experts.gate_up.data), bytes, [routed](void*) {});
    };
    auto joined = std::make_shared<CudaExperts>(with, view(with), zeroed(allocate, stream));
    auto moved = std::make_shared<SharedExpert>(own, view(own), zeroed(allocate, stream), std::move(joined));
    check(cudaStreamSynchronize(stream), "moving a shared expert");
    shared = std::move(moved);
}

const SharedExpert* shared_beside(const Experts& routed, const Experts& shared) {
    const auto* one = dynamic_cast<const SharedExpert*>(shared.get());
    return one && one->all().device().gate_up.data == cuda_experts(routed).device().gate_up.data ? one
                                                                                                 : nullptr;
}

const JoinedLinears* joined_of(std::span<const Linear> weights) {
    const JoinedLinears* joined = nullptr;
    for (size_t i = 0; i < weights.size(); ++i) {
        const auto* part = dynamic_cast<const JoinedPart*>(weights[i].get());
        if (!part || part->index() != i || (joined && part->joined().get() != joined)) return nullptr;
        joined = part->joined().get();
    }
    return joined && joined->first_columns.size() == weights.size() ? joined : nullptr;
}

}  // namespace sheaf::cuda
