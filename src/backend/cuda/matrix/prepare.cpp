#include "backend/cuda/matrix/prepare.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>

#include "backend/cuda/matrix/repack.h"

namespace sheaf::cuda {
namespace {

/// Places for so many experts: a shared one may follow those of a layer (CudaExperts::has_spare_place).
size_t places(int64_t experts) {
    return static_cast<size_t>(experts > 1 ? experts + 1 : experts);
}

constexpr int64_t block_rows = DeviceMatrix::block_rows;
constexpr size_t least_part = size_t{1} << 20;

int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
size_t round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

Float float_type(DType dtype) {
    if (dtype == DType::f32) return Float::f32;
    if (dtype == DType::bf16) return Float::bf16;
    if (dtype == DType::f16) return Float::f16;
    fail(ErrorKind::unsupported, "weights or scales of type {}", dtype_name(dtype));
}

bool all_eight(const Tensor& zeros) {
    for (int64_t g = 0; g < zeros.size(0); ++g) {
        const uint8_t* row = zeros.row<uint8_t>(g);
        if (!std::all_of(row, row + zeros.size(1), [](uint8_t zero) { return zero == 8; })) return false;
    }
    return true;
}

template <class Narrow>
bool exact_in(const Tensor& scales) {
    for (int64_t g = 0; g < scales.size(0); ++g)
        for (int64_t n = 0; n < scales.size(1); ++n) {
            const float value = scales.row<float>(g)[n];
            if (static_cast<float>(Narrow(value)) != value) return false;
        }
    return true;
}

ScaleType scale_type(const Tensor& scales) {
    if (scales.dtype() == DType::f16) return ScaleType::f16;
    if (scales.dtype() == DType::bf16) return ScaleType::bf16;
    if (scales.dtype() != DType::f32)
        fail(ErrorKind::unsupported, "quantization scales of type {}", dtype_name(scales.dtype()));
    if (exact_in<float16>(scales)) return ScaleType::f16;
    return exact_in<bfloat16>(scales) ? ScaleType::bf16 : ScaleType::f32;
}

/// 1, 2, 4 groups per unit, or 0: not a size the packed layout holds.
int32_t unit_groups(const Int4Weight& weight, int64_t in) {
    if (weight.group_size >= in || weight.group_size % 128 == 0) return 1;
    return weight.group_size % 64 == 0 ? 2 : weight.group_size % 32 == 0 ? 4 : 0;
}

void set_sizes(DeviceMatrix& matrix, int64_t out, int64_t in) {
    matrix.out = out;
    matrix.in = in;
    matrix.blocks = static_cast<int32_t>(ceil_div(out, block_rows));
    matrix.units = static_cast<int32_t>(ceil_div(in, DeviceMatrix::unit_inputs));
    matrix.row_stride = ceil_div(in, 8) * 8;
    const int scale = matrix.scale == ScaleType::f32 ? 4 : 2;
    matrix.unit_bytes =
        DeviceMatrix::unit_code_bytes + 16 * matrix.unit_groups * (scale + (matrix.has_zeros ? 1 : 0));
}

Store float_store(const HostLinear& linear, ComputeType compute) {
    const auto* dense = std::get_if<DenseWeight>(&linear.weight);
    const bool narrow = dense && dense->values.view.dtype() == DType::bf16;
    return narrow || compute == ComputeType::bf16 ? Store::bf16 : Store::f32;
}

/// The layout a weight gets, without data.
DeviceMatrix plan(const HostLinear& linear, ComputeType compute) {
    DeviceMatrix matrix;
    matrix.store = float_store(linear, compute);
    if (const auto* int4 = std::get_if<Int4Weight>(&linear.weight)) {
        const int32_t groups = unit_groups(*int4, linear.in);
        if (groups > 0 && !int4->input_order.defined()) {
            matrix.store = Store::int4;
            matrix.unit_groups = groups;
            matrix.scale = scale_type(int4->scales.view);
            matrix.has_zeros = int4->zeros.defined() && !all_eight(int4->zeros.view);
        }
    }
    set_sizes(matrix, linear.out, linear.in);
    return matrix;
}

/// Whether a weight can be kept in the layout made for another one.
bool fits(const HostLinear& linear, const DeviceMatrix& matrix, ComputeType compute) {
    if (matrix.store != Store::int4)
        return float_store(linear, compute) == matrix.store || matrix.store == Store::f32;
    const auto* int4 = std::get_if<Int4Weight>(&linear.weight);
    if (!int4 || int4->input_order.defined()) return false;
    if (unit_groups(*int4, linear.in) != matrix.unit_groups) return false;
    if (!matrix.has_zeros && int4->zeros.defined() && !all_eight(int4->zeros.view)) return false;
    return matrix.scale == ScaleType::f32 || matrix.scale == scale_type(int4->scales.view);
}

size_t staged_bytes(const HostLinear& part) {
    size_t bytes = 1024;
    auto add = [&](const HostTensor& tensor) {
        if (tensor.defined()) bytes += tensor.view.bytes() + 256;
    };
    if (const auto* dense = std::get_if<DenseWeight>(&part.weight)) add(dense->values);
    if (const auto* int4 = std::get_if<Int4Weight>(&part.weight)) {
        for (const HostTensor* t : {&int4->codes, &int4->scales, &int4->zeros, &int4->input_order}) add(*t);
    }
    if (const auto* fp8 = std::get_if<Fp8Weight>(&part.weight)) {
        add(fp8->values);
        add(fp8->scales);
    }
    return bytes;
}

SourceRows stage(const HostLinear& part, Stager::Slot& slot) {
    SourceRows rows;
    rows.rows = rows.stride = part.out;
    rows.in = part.in;
    if (const auto* dense = std::get_if<DenseWeight>(&part.weight)) {
        rows.type = float_type(dense->values.view.dtype());
        rows.values = slot.place(dense->values.view);
    } else if (const auto* int4 = std::get_if<Int4Weight>(&part.weight)) {
        rows.kind = SourceKind::int4;
        rows.scale = float_type(int4->scales.view.dtype());
        rows.group = int4->group_size;
        rows.values = slot.place(int4->codes.view);
        rows.scales = slot.place(int4->scales.view);
        if (int4->zeros.defined()) rows.zeros = static_cast<const uint8_t*>(slot.place(int4->zeros.view));
        if (int4->input_order.defined())
            rows.order = static_cast<const int32_t*>(slot.place(int4->input_order.view));
    } else {
        const auto& fp8 = std::get<Fp8Weight>(part.weight);
        rows.kind = SourceKind::fp8;
        rows.scale = float_type(fp8.scales.view.dtype());
        rows.block_rows = fp8.block_rows;
        rows.block_columns = fp8.block_columns;
        rows.values = slot.place(fp8.values.view);
        rows.scales = slot.place(fp8.scales.view);
    }
    return rows;
}

/// A part of a weight that goes through a staging buffer at once.
struct Part {
    int64_t row, row_end, input, input_end;
};

HostLinear part_of(const HostLinear& linear, const Part& part) {
    HostLinear rows =
        part.row == 0 && part.row_end == linear.out ? linear : linear.output_slice(part.row, part.row_end);
    if (part.input == 0 && part.input_end == linear.in) return rows;
    auto& int4 = std::get<Int4Weight>(rows.weight);
    const int64_t first = part.input / int4.group_size, last = ceil_div(part.input_end, int4.group_size);
    int4.codes = int4.codes.rows(part.input / 8, part.input_end / 8);
    int4.scales = int4.scales.rows(first, last);
    if (int4.zeros.defined()) int4.zeros = int4.zeros.rows(first, last);
    rows.in = part.input_end - part.input;
    return rows;
}

/// Cuts a weight into parts of at most `most` bytes. What stays packed is cut along the inputs, in whole
/// units and groups, for then a part is one range of the file; only where that is too much in `row_multiple`s
/// of rows too. Everything else is cut in rows.
std::vector<Part> parts_of(const HostLinear& linear, bool packed, size_t most, int64_t row_multiple) {
    const auto fits_in = [&](int64_t rows, int64_t inputs) {
        return staged_bytes(part_of(linear, {0, rows, 0, inputs})) + 4096 <= most;
    };
    int64_t rows = linear.out, inputs = linear.in;
    if (packed) {
        const int64_t group = std::get<Int4Weight>(linear.weight).group_size;
        const int64_t least =
            std::min(linear.in, group < linear.in ? std::max<int64_t>(group, DeviceMatrix::unit_inputs)
                                                  : static_cast<int64_t>(DeviceMatrix::unit_inputs));
        while (inputs > least && !fits_in(rows, inputs))
            inputs = std::max(least, ceil_div(inputs / 2, least) * least);
    }
    while (rows > row_multiple && !fits_in(rows, inputs))
        rows = std::max(row_multiple, ceil_div(rows / 2, row_multiple) * row_multiple);
    std::vector<Part> parts;
    for (int64_t row = 0; row < linear.out; row += rows)
        for (int64_t input = 0; input < linear.in; input += inputs)
            parts.push_back(
                {row, std::min(linear.out, row + rows), input, std::min(linear.in, input + inputs)});
    return parts;
}

/// Where a part lies in a packed matrix whose blocks take `rows` of the weight's rows each.
UnitRange range_of(const Part& part, int64_t rows) {
    return {part.row / rows, ceil_div(part.row_end - part.row, rows), part.input / DeviceMatrix::unit_inputs,
            ceil_div(part.input_end - part.input, DeviceMatrix::unit_inputs)};
}

/// A part of a plain matrix.
void put_part(const HostLinear& linear, const Part& part, const DeviceMatrix& matrix, uint8_t* data,
              Stager::Slot& slot) {
    const HostLinear piece = part_of(linear, part);
    slot.make_room(staged_bytes(piece));
    const SourceRows rows = stage(piece, slot);
    slot.send();
    if (matrix.store == Store::int4)
        return launch_repack_int4(rows, rows, false, matrix, data, range_of(part, block_rows), slot.stream);
    launch_expand(rows, matrix, data, {part.row, -1}, slot.nan_flag, slot.stream);
}

/// int4 gate and up that are the halves of one matrix's columns, as that matrix.
std::optional<HostLinear> side_by_side(const HostLinear& gate, const HostLinear& up) {
    const auto *left = std::get_if<Int4Weight>(&gate.weight), *right = std::get_if<Int4Weight>(&up.weight);
    if (!left || !right || left->group_size != right->group_size || left->input_order.defined() ||
        right->input_order.defined() || left->zeros.defined() != right->zeros.defined())
        return std::nullopt;
    HostLinear both = gate;
    both.out = gate.out + up.out;
    auto& whole = std::get<Int4Weight>(both.weight);
    const auto widen = [](HostTensor& half, const HostTensor& other) {
        const Tensor a = half.view, b = other.view;
        const char* end =
            static_cast<const char*>(a.raw()) + static_cast<size_t>(a.size(1)) * dtype_size(a.dtype());
        const bool neighbours = a.dtype() == b.dtype() && a.size(0) == b.size(0) && end == b.raw() &&
                                a.row_stride() == a.size(1) + b.size(1) && b.row_stride() == a.row_stride();
        if (neighbours) half.view = Tensor(a.raw(), a.dtype(), Shape{a.size(0), a.row_stride()});
        return neighbours;
    };
    if (!widen(whole.codes, right->codes) || !widen(whole.scales, right->scales)) return std::nullopt;
    if (whole.zeros.defined() && !widen(whole.zeros, right->zeros)) return std::nullopt;
    return both;
}

/// A part of gate and the same of up.
void put_gate_up(const HostExpert& expert, const Part& part, const DeviceMatrix& matrix, uint8_t* data,
                 Stager::Slot& slot) {
    const HostLinear gate = part_of(expert.gate, part), up = part_of(expert.up, part);
    slot.make_room(staged_bytes(gate) + staged_bytes(up));
    SourceRows low, high;
    if (const auto both = side_by_side(gate, up)) {
        const SourceRows all = stage(*both, slot);
        low = all.columns(0, gate.out);
        high = all.columns(gate.out, up.out);
    } else {
        low = stage(gate, slot);
        high = stage(up, slot);
    }
    slot.send();
    if (matrix.store == Store::int4)
        return launch_repack_int4(low, high, true, matrix, data, range_of(part, 8), slot.stream);
    launch_expand(low, matrix, data, {part.row, 0}, slot.nan_flag, slot.stream);
    launch_expand(high, matrix, data, {part.row, 1}, slot.nan_flag, slot.stream);
}

size_t bias_bytes(const HostLinear& linear) {
    return linear.bias.defined() ? static_cast<size_t>(linear.out) * sizeof(float) : 0;
}

void put_bias(const HostLinear& linear, uint8_t* device) {
    std::vector<float> values(static_cast<size_t>(linear.out));
    const Tensor& bias = linear.bias.view;
    for (int64_t n = 0; n < linear.out; ++n) {
        if (bias.dtype() == DType::f32) values[static_cast<size_t>(n)] = bias.data<float>()[n];
        if (bias.dtype() == DType::bf16)
            values[static_cast<size_t>(n)] = static_cast<float>(bias.data<bfloat16>()[n]);
        if (bias.dtype() == DType::f16)
            values[static_cast<size_t>(n)] = static_cast<float>(bias.data<float16>()[n]);
    }
    check(cudaMemcpy(device, values.data(), bias_bytes(linear), cudaMemcpyHostToDevice),
          "a bias's copy to the GPU");
}

Buffer zeroed_counters(const Allocate& allocate) {
    Buffer counters = allocate(256);
    check(cudaMemset(counters.data(), 0, 256), "counters of a weight");
    check(cudaStreamSynchronize(nullptr), "counters of a weight");
    return counters;
}

/// All experts of a layer while they load.
class ExpertsLoader {
  public:
    ExpertsLoader(int64_t count, int64_t hidden, int64_t intermediate, ComputeType compute, Stager& stager,
                  const Allocate& allocate)
        : compute_(compute), stager_(stager), allocate_(allocate) {
        experts_.count = count;
        experts_.hidden = hidden;
        experts_.intermediate = intermediate;
    }

    void add(int64_t index, const HostExpert& expert, Stager::Slot& slot) {
        const auto check_shape = [&](const HostLinear& part, int64_t out, int64_t in) {
            SHEAF_CHECK(part.out == out && part.in == in, "expert {}: ({}, {}) is not ({}, {})", index,
                        part.out, part.in, out, in);
        };
        check_shape(expert.gate, experts_.intermediate, experts_.hidden);
        check_shape(expert.up, experts_.intermediate, experts_.hidden);
        check_shape(expert.down, experts_.hidden, experts_.intermediate);
        {
            std::lock_guard lock(mutex_);
            if (!experts_.gate_up.data) plan_layout(expert);
        }
        if (fits(expert.gate, experts_.gate_up, compute_) && fits(expert.up, experts_.gate_up, compute_) &&
            fits(expert.down, experts_.down, compute_))
            return put(experts_, index, expert, slot);
        std::lock_guard lock(mutex_);
        misfits_.emplace_back(index, expert);
    }

    std::shared_ptr<const CudaExperts> finish() {
        stager_.finish();
        if (!misfits_.empty()) become_floats();
        return std::make_shared<CudaExperts>(experts_, memory_, zeroed_counters(allocate_));
    }

  private:
    void plan_layout(const HostExpert& expert) {
        const DeviceMatrix gate = plan(expert.gate, compute_), up = plan(expert.up, compute_);
        DeviceMatrix gate_up = gate, down = plan(expert.down, compute_);
        if (gate.store != up.store) gate_up.store = compute_ == ComputeType::bf16 ? Store::bf16 : Store::f32;
        if (gate_up.store == Store::int4) {
            gate_up.has_zeros = gate.has_zeros || up.has_zeros;
            if (gate.scale != up.scale) gate_up.scale = ScaleType::f32;
        }
        // Scales that happen to be exact in 16 bits in one expert need not be in the next.
        widen_scales(expert.gate, gate_up);
        widen_scales(expert.down, down);
        allocate_layout(gate_up, down);
    }

    static void widen_scales(const HostLinear& linear, DeviceMatrix& matrix) {
        const auto* int4 = std::get_if<Int4Weight>(&linear.weight);
        if (int4 && int4->scales.view.dtype() == DType::f32) matrix.scale = ScaleType::f32;
    }

    void allocate_layout(DeviceMatrix gate_up, DeviceMatrix down) {
        set_sizes(gate_up, ceil_div(experts_.intermediate, 8) * 16, experts_.hidden);
        set_sizes(down, experts_.hidden, experts_.intermediate);
        const size_t first = round_up(gate_up.weight_bytes(), 256),
                     second = round_up(down.weight_bytes(), 256);
        const size_t count = places(experts_.count);
        memory_ = allocate_((first + second) * count);
        auto* data = static_cast<uint8_t*>(memory_.data());
        check(cudaMemset(data, 0, memory_.bytes()), "memory of experts");  // rows and columns that fill up
        check(cudaStreamSynchronize(nullptr), "memory of experts");
        gate_up.data = data;
        down.data = data + first * count;
        experts_.gate_up = gate_up;
        experts_.down = down;
        experts_.gate_up_stride = first;
        experts_.down_stride = second;
    }

    static uint8_t* place(const DeviceMatrix& matrix, size_t stride, int64_t index) {
        return const_cast<uint8_t*>(matrix.data) + stride * static_cast<size_t>(index);
    }

    static void put(const DeviceExperts& target, int64_t index, const HostExpert& expert,
                    Stager::Slot& slot) {
        uint8_t* gate_up = place(target.gate_up, target.gate_up_stride, index);
        uint8_t* down = place(target.down, target.down_stride, index);
        const bool packed = target.gate_up.store == Store::int4;
        for (const Part& part : parts_of(expert.gate, packed, slot.capacity / 2, 8))
            put_gate_up(expert, part, target.gate_up, gate_up, slot);
        for (const Part& part :
             parts_of(expert.down, target.down.store == Store::int4, slot.capacity, block_rows))
            put_part(expert.down, part, target.down, down, slot);
    }

    /// Experts of several kinds: the whole layer in floats.
    void become_floats() {
        const DeviceExperts packed = experts_;
        const Buffer packed_memory = memory_;
        DeviceMatrix floats;
        floats.store = compute_ == ComputeType::bf16 ? Store::bf16 : Store::f32;
        allocate_layout(floats, floats);
        for (int64_t i = 0; i < experts_.count; ++i) {
            DeviceMatrix gate_up = packed.gate_up, down = packed.down;
            gate_up.data = place(packed.gate_up, packed.gate_up_stride, i);
            down.data = place(packed.down, packed.down_stride, i);
            launch_unpack(gate_up, experts_.gate_up, place(experts_.gate_up, experts_.gate_up_stride, i),
                          nullptr);
            launch_unpack(down, experts_.down, place(experts_.down, experts_.down_stride, i), nullptr);
        }
        check(cudaStreamSynchronize(nullptr), "experts as floats");
        stager_.for_each(static_cast<int64_t>(misfits_.size()), [&](int64_t i, Stager::Slot& slot) {
            const auto& [index, expert] = misfits_[static_cast<size_t>(i)];
            put(experts_, index, expert, slot);
        });
        stager_.finish();
    }

    ComputeType compute_;
    Stager& stager_;
    const Allocate& allocate_;
    std::mutex mutex_;
    DeviceExperts experts_;
    Buffer memory_;
    std::vector<std::pair<int64_t, HostExpert>> misfits_;
};

float unit_spread(const DeviceMatrix& matrix) {
    const auto in = static_cast<float>(matrix.in);
    return matrix.store == Store::int4 ? 1.0f / (4.6f * std::sqrt(in))
                                       : std::sqrt(3.0f / in);  // 4.6: of the codes
}

DeviceMatrix random_plan(int64_t out, int64_t in, int64_t group_size) {
    DeviceMatrix matrix;
    SHEAF_CHECK(group_size == 0 || group_size % 32 == 0, "random weights in groups of {}", group_size);
    matrix.store = group_size == 0 ? Store::bf16 : Store::int4;
    matrix.unit_groups = group_size == 0 || group_size % 128 == 0 ? 1 : group_size % 64 == 0 ? 2 : 4;
    set_sizes(matrix, out, in);
    return matrix;
}

}  // namespace

std::shared_ptr<const CudaLinear> prepare_linear(const HostLinear& linear, ComputeType compute,
                                                 Stager& stager, const Allocate& allocate) {
    DeviceMatrix matrix = plan(linear, compute);
    const size_t weights = round_up(matrix.weight_bytes(), 256);
    Buffer memory = allocate(weights + bias_bytes(linear));
    auto* data = static_cast<uint8_t*>(memory.data());
    if (matrix.store != Store::int4 && (matrix.row_stride != matrix.in || matrix.out % block_rows != 0)) {
        check(cudaMemset(data, 0, weights), "memory of a weight");
        check(cudaStreamSynchronize(nullptr), "memory of a weight");
    }
    matrix.data = data;
    // Parts for all threads, unless they became so small that copies no longer fill the link.
    const size_t share = staged_bytes(linear) / static_cast<size_t>(stager.threads()) + 8192;
    const size_t most = std::min(stager.slot_bytes(), std::max(share, least_part));
    const auto parts = parts_of(linear, matrix.store == Store::int4, most, block_rows);
    stager.for_each(static_cast<int64_t>(parts.size()), [&](int64_t i, Stager::Slot& slot) {
        put_part(linear, parts[static_cast<size_t>(i)], matrix, data, slot);
    });
    if (linear.bias.defined()) {
        put_bias(linear, data + weights);
        matrix.bias = reinterpret_cast<const float*>(data + weights);
    }
    stager.finish();
    return std::make_shared<CudaLinear>(matrix, memory, zeroed_counters(allocate));
}

std::shared_ptr<const CudaExperts> prepare_experts(int64_t count, int64_t hidden, int64_t intermediate,
                                                   const std::function<HostExpert(int64_t)>& load,
                                                   ComputeType compute, Stager& stager,
                                                   const Allocate& allocate) {
    ExpertsLoader loader(count, hidden, intermediate, compute, stager, allocate);
    stager.for_each(count, [&](int64_t i, Stager::Slot& slot) { loader.add(i, load(i), slot); });
    return loader.finish();
}

std::shared_ptr<const CudaLinear> random_linear(int64_t out, int64_t in, int64_t group_size, uint64_t seed,
                                                const Allocate& allocate, cudaStream_t stream) {
    DeviceMatrix matrix = random_plan(out, in, group_size);
    Buffer memory = allocate(matrix.weight_bytes());
    matrix.data = static_cast<uint8_t*>(memory.data());
    launch_random(matrix, static_cast<uint8_t*>(memory.data()), unit_spread(matrix), seed, stream);
    return std::make_shared<CudaLinear>(matrix, memory, zeroed_counters(allocate));
}

std::shared_ptr<const CudaExperts> random_experts(int64_t count, int64_t hidden, int64_t intermediate,
                                                  int64_t group_size, uint64_t seed, const Allocate& allocate,
                                                  cudaStream_t stream) {
    DeviceExperts experts;
    experts.count = count;
    experts.hidden = hidden;
    experts.intermediate = intermediate;
    experts.gate_up = random_plan(ceil_div(intermediate, 8) * 16, hidden, group_size);
    experts.down = random_plan(hidden, intermediate, group_size);
    experts.gate_up_stride = round_up(experts.gate_up.weight_bytes(), 256);
    experts.down_stride = round_up(experts.down.weight_bytes(), 256);
    Buffer memory = allocate((experts.gate_up_stride + experts.down_stride) * places(count));
    auto* data = static_cast<uint8_t*>(memory.data());
    uint8_t* down = data + experts.gate_up_stride * places(count);
    for (int64_t e = 0; e < count; ++e) {
        const auto at = static_cast<size_t>(e);
        launch_random(experts.gate_up, data + at * experts.gate_up_stride, unit_spread(experts.gate_up),
                      seed + 2 * static_cast<uint64_t>(e), stream);
        launch_random(experts.down, down + at * experts.down_stride, unit_spread(experts.down),
                      seed + 2 * static_cast<uint64_t>(e) + 1, stream);
    }
    experts.gate_up.data = data;
    experts.down.data = down;
    return std::make_shared<CudaExperts>(experts, memory, zeroed_counters(allocate));
}

}  // namespace sheaf::cuda
