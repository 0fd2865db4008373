// Mixture of experts: tokens grouped by expert; first all gates and ups with SwiGLU, then all downs, each
// output column's task gathering a token's experts in the order of its routing.
#include <algorithm>
#include <cstring>
#include <vector>

#include "backend/cpu/cpu_ops.h"
#include "backend/cpu/cpu_weights.h"
#include "backend/cpu/matrix_product.h"

namespace sheaf::cpu {
namespace {

constexpr int64_t lanes = PackedMatrix::tile_outputs;

int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/// The rows that go to one expert: places [begin, begin + count).
struct ExpertRows {
    int64_t expert = 0, begin = 0, count = 0;
    RowLayout hidden;  // of its intermediate rows
    int64_t hidden_begin = 0;
};

/// Every (token, choice) gets a place; the places of an expert follow one another, tokens in order.
struct Grouping {
    std::vector<ExpertRows> active;  // most rows first: long tasks start early
    std::vector<int32_t> token_of_place, place_of_choice;
    int64_t most = 0;

    Grouping(const Routing& routing, int64_t experts) {
        const int64_t tokens = routing.ids.size(0), k = routing.ids.size(1);
        std::vector<int64_t> next(static_cast<size_t>(experts) + 1, 0);
        for (int64_t t = 0; t < tokens; ++t)
            for (int64_t j = 0; j < k; ++j) {
                const int32_t id = routing.ids.row<int32_t>(t)[j];
                SHEAF_CHECK(id >= 0 && id < experts, "expert {} of {}", id, experts);
                ++next[static_cast<size_t>(id) + 1];
            }
        for (int64_t e = 0; e < experts; ++e) {
            auto& end = next[static_cast<size_t>(e) + 1];
            if (end > 0) active.push_back({e, next[static_cast<size_t>(e)], end, {}, 0});
            most = std::max(most, end);
            end += next[static_cast<size_t>(e)];
        }
        token_of_place.resize(static_cast<size_t>(tokens * k));
        place_of_choice.resize(static_cast<size_t>(tokens * k));
        for (int64_t t = 0; t < tokens; ++t)
            for (int64_t j = 0; j < k; ++j) {
                const auto place = next[static_cast<size_t>(routing.ids.row<int32_t>(t)[j])]++;
                token_of_place[static_cast<size_t>(place)] = static_cast<int32_t>(t);
                place_of_choice[static_cast<size_t>(t * k + j)] = static_cast<int32_t>(place);
            }
        std::stable_sort(active.begin(), active.end(),
                         [](const ExpertRows& a, const ExpertRows& b) { return a.count > b.count; });
    }
};

class Mixture {
  public:
    Mixture(const Kernels& kernels, const Tensor& x, const Routing& routing, const CpuExperts& experts)
        : kernels_(kernels), x_(x), routing_(routing), experts_(experts), grouping_(routing, experts.count) {
        constexpr int64_t line = 16;  // floats, so that no two experts write to one
        for (ExpertRows& group : grouping_.active) {
            group.hidden = row_layout(kernels, experts[group.expert].down, group.count);
            group.hidden_begin = hidden_floats_;
            hidden_floats_ += ceil_div(group.hidden.block_floats(), line) * line;
        }
    }

    const std::vector<ExpertRows>& active() const { return grouping_.active; }
    /// The memory that the intermediate rows of all experts need.
    int64_t hidden_floats() const { return hidden_floats_; }
    void set_hidden(float* memory) { hidden_ = memory; }

    /// SwiGLU of tiles [begin, end) of the intermediate dimension, into `hidden`, laid out for the down
    /// product.
    void gate_and_up(const ExpertRows& group, int64_t begin, int64_t end) const {
        const PackedExpert& expert = experts_[group.expert];
        const ReadyRows gate_rows = ready_input(expert.gate, group, Scratch::gate);
        const bool same =
            !expert.gate.input_order && !expert.up.input_order && same_rows(kernels_, expert.gate, expert.up);
        const ReadyRows up_rows = same ? gate_rows : ready_input(expert.up, group, Scratch::up);
        const int64_t step = kernels_.tile_batch, size = group.count * step * lanes;
        float* gate = Scratch::floats(Scratch::outputs, 2 * size);
        float* up = gate + size;
        for (int64_t tile = begin; tile < end; tile += step) {
            const int64_t count = std::min(step, end - tile);
            multiply_tiles(kernels_, expert.gate, gate_rows, 0, group.count, tile, count, gate);
            multiply_tiles(kernels_, expert.up, up_rows, 0, group.count, tile, count, up);
            kernels_.swiglu(gate, up, gate, group.count * count * lanes);
            store_hidden(group, expert.down, gate, tile * lanes, count * lanes);
        }
    }

    /// Columns of tiles [begin, end) of the result.
    void down(int64_t begin, int64_t end, const Tensor& result) const {
        const int64_t width = (end - begin) * lanes;
        float* outputs =
            Scratch::floats(Scratch::gate, static_cast<int64_t>(grouping_.token_of_place.size()) * width);
        for (const ExpertRows& group : grouping_.active) down_of(group, begin, end, outputs);
        const int64_t first = begin * lanes, columns = std::min(width, result.size(1) - first);
        const int64_t k = routing_.ids.size(1);
        for (int64_t t = 0; t < result.size(0); ++t) {
            float* y = result.row<float>(t) + first;
            std::memset(y, 0, static_cast<size_t>(columns) * sizeof(float));
            for (int64_t j = 0; j < k; ++j) {
                const int64_t place = grouping_.place_of_choice[static_cast<size_t>(t * k + j)];
                kernels_.add_scaled(routing_.weights.row<float>(t)[j], outputs + place * width, y, columns);
            }
        }
    }

  private:
    ReadyRows ready_input(const PackedMatrix& w, const ExpertRows& group, Scratch::Slot slot) const {
        std::vector<const float*> rows(static_cast<size_t>(group.count));
        for (int64_t i = 0; i < group.count; ++i)
            rows[static_cast<size_t>(i)] =
                x_.row<float>(grouping_.token_of_place[static_cast<size_t>(group.begin + i)]);
        const RowLayout layout = row_layout(kernels_, w, group.count);
        float* memory = Scratch::floats(slot, layout.block_floats() + layout.sum_floats);
        const ReadyRows ready{layout, memory, memory + layout.block_floats()};
        for (int64_t row = 0; row < group.count; row += layout.height)
            make_ready(kernels_, w, rows.data(), row, ready);
        return ready;
    }

    /// values [rows][width], columns [first, first + width) of the intermediate dimension, into row blocks.
    void store_hidden(const ExpertRows& group, const PackedMatrix& w, const float* values, int64_t first,
                      int64_t width) const {
        const RowLayout& layout = group.hidden;
        for (int64_t row = 0; row < group.count; row += layout.height) {
            const int64_t rows = std::min(layout.height, group.count - row);
            float* block = hidden_ + group.hidden_begin + row * layout.row_floats;
            const float* from = values + row * width;
            if (layout.form == RowForm::bf16) {
                const float* sources[k_block];
                for (int64_t r = 0; r < rows; ++r) sources[r] = from + r * width;
                kernels_.pack_bf16(w, sources, rows, layout.height, first, std::min(first + width, w.in),
                                   reinterpret_cast<uint16_t*>(block));
                continue;
            }
            const int64_t columns = std::min(width, w.padded_in - first);
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t c = 0; c < columns; ++c) block[(first + c) * rows + r] = from[r * width + c];
        }
    }

    /// Group sums of an expert's hidden rows, for a down projection with zero points.
    void sum_hidden(const ExpertRows& group, const PackedMatrix& w, float* sums) const {
        const int64_t height = group.hidden.height;
        float* line = Scratch::floats(Scratch::rows, w.padded_in);
        for (int64_t row = 0; row < group.count; ++row) {
            const int64_t first = row / height * height, rows = std::min(height, group.count - first);
            const float* block = hidden_ + group.hidden_begin + first * w.padded_in;
            for (int64_t k = 0; k < w.padded_in; ++k) line[k] = block[k * rows + row - first];
            kernels_.group_sums(line, w.in, w.group, sums + row * w.groups());
        }
    }

    void down_of(const ExpertRows& group, int64_t begin, int64_t end, float* outputs) const {
        const PackedMatrix& w = experts_[group.expert].down;
        ReadyRows ready{group.hidden, hidden_ + group.hidden_begin, nullptr};
        if (group.hidden.sum_floats > 0) {
            ready.sums = Scratch::floats(Scratch::sums, group.hidden.sum_floats);
            sum_hidden(group, w, ready.sums);
        }
        const int64_t step = kernels_.tile_batch, stride = (end - begin) * lanes;
        float* y = Scratch::floats(Scratch::outputs, group.count * step * lanes);
        for (int64_t tile = begin; tile < end; tile += step) {
            const int64_t width = std::min(step, end - tile) * lanes;
            multiply_tiles(kernels_, w, ready, 0, group.count, tile, width / lanes, y);
            for (int64_t r = 0; r < group.count; ++r)
                std::memcpy(outputs + (group.begin + r) * stride + (tile - begin) * lanes, y + r * width,
                            static_cast<size_t>(width) * sizeof(float));
        }
    }

    const Kernels& kernels_;
    const Tensor& x_;
    const Routing& routing_;
    const CpuExperts& experts_;
    Grouping grouping_;
    float* hidden_ = nullptr;
    int64_t hidden_floats_ = 0;
};

/// Tiles of a task so that `ranges` of them cover `tiles`, in whole steps.
int64_t tiles_per_task(int64_t tiles, int64_t ranges, int64_t step) {
    return ceil_div(ceil_div(tiles, std::max<int64_t>(1, ranges)), step) * step;
}

}  // namespace

Tensor CpuOps::moe(const Tensor& x, const Routing& routing, const Experts& handle) {
    const CpuExperts& experts = cpu_experts(handle);
    const int64_t tokens = x.size(0);
    SHEAF_CHECK(x.size(1) == experts.hidden && routing.ids.size(0) == tokens &&
                routing.weights.shape() == routing.ids.shape());
    const Tensor result = make(DType::f32, Shape{tokens, experts.hidden});
    if (tokens == 0) return result;
    Mixture mixture(kernels_, x, routing, experts);
    mixture.set_hidden(make(DType::f32, Shape{mixture.hidden_floats()}).data<float>());

    const int64_t step = kernels_.tile_batch, wanted = 16 * pool_.thread_count();
    const int64_t inner = ceil_div(experts.intermediate, lanes), active = std::ssize(mixture.active());
    const int64_t inner_task = tiles_per_task(inner, ceil_div(wanted, active), step);
    const int64_t ranges = ceil_div(inner, inner_task);
    pool_.parallel_for(active * ranges, [&](int64_t task) {
        const int64_t begin = task % ranges * inner_task;
        mixture.gate_and_up(mixture.active()[static_cast<size_t>(task / ranges)], begin,
                            std::min(inner, begin + inner_task));
    });
    const int64_t outer = ceil_div(experts.hidden, lanes);
    const int64_t outer_task = std::min(step, tiles_per_task(outer, 2 * pool_.thread_count(), 2));
    pool_.parallel_for(ceil_div(outer, outer_task), [&](int64_t task) {
        mixture.down(task * outer_task, std::min(outer, (task + 1) * outer_task), result);
    });
    return result;
}

Tensor CpuOps::expert(const Tensor& x, const Experts& experts, int64_t index) {
    const Routing routing{make(DType::i32, Shape{x.size(0), 1}), make(DType::f32, Shape{x.size(0), 1})};
    std::fill_n(routing.ids.data<int32_t>(), x.size(0), static_cast<int32_t>(index));
    std::fill_n(routing.weights.data<float>(), x.size(0), 1.0f);
    return moe(x, routing, experts);
}

}  // namespace sheaf::cpu
