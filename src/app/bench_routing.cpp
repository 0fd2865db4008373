#include "app/bench_routing.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "base/counter_random.h"

namespace sheaf {

namespace {

constexpr uint64_t drawn_rows = 4096, rank_orders = 32;

/// Rows of `top_k` different experts, drawn once, as the drawing must not take part in a timed step: first
/// all rows with expert i in rank i, then all with the ranks moved on by some experts, and so on.
std::vector<int32_t> draw_table(const std::string& pattern, int64_t experts, int64_t top_k) {
    std::vector<int32_t> table, order(static_cast<size_t>(experts));
    std::vector<double> key(order.size());
    for (uint64_t row = 0; row < drawn_rows; ++row) {
        std::iota(order.begin(), order.end(), 0);
        // The top_k largest of log(u) / weight are a weighted draw without replacement.
        for (size_t i = 0; i < key.size(); ++i) {
            const double weight = pattern == "zipf" ? 1.0 / static_cast<double>(i + 1) : 1.0;
            key[i] = std::log(counter_random_uniform(row, i)) / weight;
        }
        std::partial_sort(order.begin(), order.begin() + top_k, order.end(),
                          [&](int32_t a, int32_t b) { return key[a] > key[b]; });
        table.insert(table.end(), order.begin(), order.begin() + top_k);
    }
    const size_t drawn = table.size();
    for (uint64_t move = 1; move < rank_orders; ++move) {
        const auto shift =
            static_cast<int64_t>(counter_random_bits(move, 2) % static_cast<uint64_t>(experts));
        for (size_t i = 0; i < drawn; ++i)
            table.push_back(static_cast<int32_t>((table[i] + shift) % experts));
    }
    return table;
}

class RoutedOps final : public ForwardingOps {
  public:
    RoutedOps(Machine& machine, const std::string& pattern, int64_t layers, int64_t experts, int64_t top_k)
        : ForwardingOps(machine.make_ops()), layers_(layers), top_k_(top_k) {
        std::vector<int32_t> ids = draw_table(pattern, experts, top_k);
        const Shape shape{static_cast<int64_t>(drawn_rows * rank_orders), top_k};
        memory_ = machine.upload(Tensor(ids.data(), DType::i32, shape), DType::i32);
        table_ = memory_.tensor(DType::i32, shape);
    }

    /// Where every layer of the step takes its rows from: a step may be recorded, and replays choose anew.
    void stage(const Batch& batch) override {
        inner().stage(batch);
        const int64_t tokens = batch.tokens();
        std::vector<int32_t> rows;
        for (int64_t layer = 0; layer < layers_; ++layer) {
            const uint64_t first = counter_random_bits(++calls_, 1),
                           order = counter_random_bits(calls_, 2) % rank_orders;
            for (int64_t i = 0; i < tokens; ++i)
                rows.push_back(static_cast<int32_t>(order * drawn_rows +
                                                    (first + static_cast<uint64_t>(i)) % drawn_rows));
        }
        const std::vector<float> weights(static_cast<size_t>(tokens * top_k_),
                                         1.0f / static_cast<float>(top_k_));
        rows_ = inner().upload(rows.data(), DType::i32, Shape{layers_ * tokens});
        weights_ = inner().upload(weights.data(), DType::f32, Shape{tokens, top_k_});
        layer_ = 0;
    }
    Routing route(const Tensor& x, const Linear& router, int64_t top_k) override {
        inner().route(x, router, top_k);  // its work belongs to the step
        return next_routing(x.size(0));
    }
    std::pair<Routing, Tensor> route_with_shared(const Tensor& x, const Linear& router,
                                                 const Linear& shared_gate, int64_t top_k) override {
        const Tensor gate = inner().route_with_shared(x, router, shared_gate, top_k).second;
        return {next_routing(x.size(0)), gate};
    }
    void begin_step() override {
        inner().begin_step();
        layer_ = layers_;
    }

    void begin_layer(int layer) override {
        if (layer == 0 && rows_.defined()) ids_ = inner().gather_rows(table_, rows_);  // for the whole step
        inner().begin_layer(layer);
    }

  private:
    /// The choices of the next layer.
    Routing next_routing(int64_t tokens) {
        SHEAF_CHECK(layer_ < layers_ && rows_.size(0) == layers_ * tokens, "a routing that was not staged");
        const int64_t first = layer_++ * tokens;
        return {ids_.rows(first, first + tokens), weights_};
    }

    int64_t layers_, top_k_, layer_ = 0;
    uint64_t calls_ = 0;
    Buffer memory_;
    Tensor table_, rows_, ids_, weights_;
};

}  // namespace

std::unique_ptr<Ops> make_routed_ops(Machine& machine, const std::string& pattern, int64_t layers,
                                     int64_t experts, int64_t top_k) {
    if (experts == 0) return machine.make_ops();
    return std::make_unique<RoutedOps>(machine, pattern, layers, experts, top_k);
}

Routing ExpertCounter::route(const Tensor& x, const Linear& router, int64_t top_k) {
    Routing routing = inner().route(x, router, top_k);
    count(routing);
    return routing;
}

std::pair<Routing, Tensor> ExpertCounter::route_with_shared(const Tensor& x, const Linear& router,
                                                            const Linear& shared_gate, int64_t top_k) {
    auto result = inner().route_with_shared(x, router, shared_gate, top_k);
    count(result.first);
    return result;
}

void ExpertCounter::count(const Routing& routing) {
    std::vector<int32_t> ids(static_cast<size_t>(routing.ids.elements()));
    inner().download(routing.ids, ids.data());
    distinct_ += static_cast<double>(std::set<int32_t>(ids.begin(), ids.end()).size());
    ++routings_;
}

}  // namespace sheaf
