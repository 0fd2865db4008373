// Attention over paged keys and values. The queries of one sequence and kv head are cut into tiles of
// sixteen, the keys into spans of an absolute grid; each span's part is computed by itself and the parts are
// merged in order, whether one task does all spans of a tile or each span is a task of its own.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "backend/cpu/cpu_ops.h"
#include "backend/cpu/matrix_product.h"

namespace sheaf::cpu {
namespace {

constexpr int64_t lanes = 16;
constexpr int64_t span = 4 * key_block;  // keys of a part

/// Some query tiles' work.
struct TileTask {
    const SequenceSpan* sequence;
    int64_t kv_head,
        first_query;  // queries of (sequence, kv head) number row * group + head within the group
    int64_t tiles;
    int64_t keys;            // [0, keys) are visible to some lane
    int64_t first_part = 0;  // parts: spans x tiles
    int64_t spans() const { return (keys + span - 1) / span; }
    int64_t parts() const { return spans() * tiles; }
};

class Attention {
  public:
    Attention(const Kernels& kernels, const Tensor& query, const KvLayer& cache, int64_t heads,
              const Tensor& gate, const Tensor& result)
        : kernels_(kernels),
          query_(query),
          cache_(cache),
          gate_(gate),
          result_(result),
          kv_heads_(cache.keys.size(2)),
          head_dim_(cache.keys.size(3)),
          group_(heads / kv_heads_) {
        SHEAF_CHECK(heads % kv_heads_ == 0 && query.size(1) == heads * head_dim_);
        SHEAF_CHECK(cache.keys.dtype() == cache.values.dtype() &&
                    (cache.keys.dtype() == DType::bf16 || cache.keys.dtype() == DType::f32));
    }

    std::vector<TileTask> divide(std::span<const SequenceSpan> sequences, int64_t wanted_tasks) const {
        int64_t tiles = 0;
        for (const SequenceSpan& sequence : sequences) tiles += (sequence.count * group_ + lanes - 1) / lanes;
        const int64_t together = std::clamp<int64_t>(tiles * kv_heads_ / wanted_tasks, 1, most_query_tiles);
        std::vector<TileTask> tasks;
        int64_t parts = 0;
        for (const SequenceSpan& sequence : sequences) {
            const int64_t queries = sequence.count * group_;
            for (int64_t first = 0; first < queries; first += together * lanes)
                for (int64_t head = 0; head < kv_heads_; ++head) {
                    const int64_t end = std::min(first + together * lanes, queries);
                    TileTask task{&sequence,
                                  head,
                                  first,
                                  (end - first + lanes - 1) / lanes,
                                  sequence.context + (end - 1) / group_ + 1,
                                  parts};
                    parts += task.parts();
                    tasks.push_back(task);
                }
        }
        return tasks;
    }

    int64_t part_floats() const { return (head_dim_ + 2) * lanes; }

    /// The parts of the task's tiles over one span, to memory [tiles][part_floats].
    void attend(const TileTask& task, int64_t index, float* memory) const {
        const int64_t size = head_dim_ * lanes;
        float* queries = Scratch::floats(Scratch::rows, task.tiles * size + attention_scratch(head_dim_));
        QueryTile tiles[most_query_tiles];
        AttentionPart parts[most_query_tiles];
        for (int64_t t = 0; t < task.tiles; ++t) {
            tiles[t] = gather_queries(task, task.first_query + t * lanes, queries + t * size);
            parts[t] = part(memory + t * part_floats());
        }
        kernels_.attend(view_of(task), tiles, task.tiles, index * span,
                        std::min(task.keys, (index + 1) * span), queries + task.tiles * size, parts);
    }

    /// Folds a later span's parts into `total`.
    void merge(const TileTask& task, float* total, float* later) const {
        for (int64_t t = 0; t < task.tiles; ++t)
            kernels_.merge_attention(part(total + t * part_floats()), part(later + t * part_floats()),
                                     head_dim_);
    }

    void store(const TileTask& task, float* total) const {
        for (int64_t t = 0; t < task.tiles; ++t)
            store_tile(task, task.first_query + t * lanes, part(total + t * part_floats()));
    }

  private:
    static AttentionPart part(float* memory) { return {memory + 2 * lanes, memory, memory + lanes}; }
    int64_t query_offset(int64_t kv_head, int64_t query_index) const {  // within the row
        return (kv_head * group_ + query_index % group_) * head_dim_;
    }

    KvView view_of(const TileTask& task) const {
        const Tensor &keys = cache_.keys, &values = cache_.values;
        const int64_t offset = task.kv_head * head_dim_ * static_cast<int64_t>(dtype_size(keys.dtype()));
        KvView view;
        view.keys = static_cast<const char*>(keys.raw()) + offset;
        view.values = static_cast<const char*>(values.raw()) + offset;
        view.is_bf16 = keys.dtype() == DType::bf16;
        view.blocks = task.sequence->blocks.data();
        view.block_size = keys.size(1);
        view.position_stride = kv_heads_ * head_dim_;
        view.block_stride = keys.row_stride();
        view.head_dim = head_dim_;
        return view;
    }

    /// A tile's queries, scaled, transposed.
    QueryTile gather_queries(const TileTask& task, int64_t first, float* memory) const {
        const float factor = 1.0f / std::sqrt(static_cast<float>(head_dim_));
        QueryTile tile;
        tile.queries = memory;
        for (int64_t lane = 0; lane < lanes; ++lane) {
            const int64_t index = first + lane, row = index / group_;
            tile.last[lane] = -1;
            if (row >= task.sequence->count) {
                for (int64_t d = 0; d < head_dim_; ++d) memory[d * lanes + lane] = 0.0f;
                continue;
            }
            const float* q =
                query_.row<float>(task.sequence->begin + row) + query_offset(task.kv_head, index);
            for (int64_t d = 0; d < head_dim_; ++d) memory[d * lanes + lane] = q[d] * factor;
            tile.last[lane] = static_cast<int32_t>(task.sequence->context + row);
        }
        return tile;
    }

    void store_tile(const TileTask& task, int64_t first, const AttentionPart& total) const {
        kernels_.finish_attention(total, head_dim_);
        const int64_t count = std::min(lanes, task.sequence->count * group_ - first);
        for (int64_t lane = 0; lane < count; ++lane) {
            const int64_t index = first + lane, row = task.sequence->begin + index / group_;
            const int64_t offset = query_offset(task.kv_head, index);
            float* y = result_.row<float>(row) + offset;
            for (int64_t d = 0; d < head_dim_; ++d) y[d] = total.output[d * lanes + lane];
            if (gate_.defined())  // per head: query, gate
                kernels_.multiply_sigmoid(y, gate_.row<float>(row) + 2 * offset + head_dim_, y, head_dim_);
        }
    }

    const Kernels& kernels_;
    const Tensor& query_;
    const KvLayer& cache_;
    const Tensor& gate_;
    const Tensor& result_;
    int64_t kv_heads_, head_dim_, group_;
};

}  // namespace

void CpuOps::attend(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads,
                    const Tensor& gate, const Tensor& result) {
    const Attention work(kernels_, query, cache, heads, gate, result);
    const int64_t wanted = 4 * pool_.thread_count(), size = work.part_floats();
    const std::vector<TileTask> tasks = work.divide(batch.sequences, wanted);
    const int64_t count = std::ssize(tasks);
    if (count >= wanted) {  // a task takes all spans, one after the other
        pool_.parallel_for(count, [&](int64_t i) {
            const TileTask& task = tasks[static_cast<size_t>(i)];
            float* total = Scratch::floats(Scratch::outputs, 2 * task.tiles * size);
            float* later = total + task.tiles * size;
            work.attend(task, 0, total);
            for (int64_t s = 1; s < task.spans(); ++s) {
                work.attend(task, s, later);
                work.merge(task, total, later);
            }
            work.store(task, total);
        });
        return;
    }
    std::vector<std::pair<size_t, int64_t>> spans;  // (task, span)
    for (size_t t = 0; t < tasks.size(); ++t)
        for (int64_t s = 0; s < tasks[t].spans(); ++s) spans.emplace_back(t, s);
    const int64_t parts = tasks.empty() ? 0 : tasks.back().first_part + tasks.back().parts();
    float* memory = make(DType::f32, Shape{parts, size}).data<float>();
    auto part_of = [&](const TileTask& task, int64_t s) {
        return memory + (task.first_part + s * task.tiles) * size;
    };
    pool_.parallel_for(std::ssize(spans), [&](int64_t i) {
        const auto [t, s] = spans[static_cast<size_t>(i)];
        work.attend(tasks[t], s, part_of(tasks[t], s));
    });
    pool_.parallel_for(count, [&](int64_t i) {
        const TileTask& task = tasks[static_cast<size_t>(i)];
        for (int64_t s = 1; s < task.spans(); ++s) work.merge(task, part_of(task, 0), part_of(task, s));
        work.store(task, part_of(task, 0));
    });
}

Tensor CpuOps::attention(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads) {
    const Tensor result = make(DType::f32, query.shape());
    attend(query, cache, batch, heads, Tensor{}, result);
    return result;
}

void CpuOps::write_kv(const KvLayer& cache, const Tensor& key, const Tensor& value, const Batch& batch) {
    const int64_t block_size = cache.keys.size(1), columns = cache.keys.size(2) * cache.keys.size(3);
    SHEAF_CHECK(key.size(1) == columns && value.size(1) == columns);
    auto write = [&](const Tensor& pages, const Tensor& rows, int64_t row, int64_t offset) {
        if (pages.dtype() == DType::bf16) {
            kernels_.f32_to_bf16(rows.row<float>(row),
                                 reinterpret_cast<uint16_t*>(pages.data<bfloat16>() + offset), columns);
        } else {
            std::memcpy(pages.data<float>() + offset, rows.row<float>(row),
                        static_cast<size_t>(columns) * sizeof(float));
        }
    };
    for (const SequenceSpan& sequence : batch.sequences) {
        for_rows(sequence.count, 2 * columns, [&](int64_t i) {
            const int64_t position = sequence.context + i, row = sequence.begin + i;
            const int64_t block = sequence.blocks[static_cast<size_t>(position / block_size)];
            SHEAF_CHECK(block >= 0 && block < cache.keys.size(0), "page {} of {}", block, cache.keys.size(0));
            const int64_t offset = block * cache.keys.row_stride() + position % block_size * columns;
            write(cache.keys, key, row, offset);
            write(cache.values, value, row, offset);
        });
    }
}

/// x's heads, head_stride columns apart, normalized, then rotated.
Tensor CpuOps::normalized_heads(const Tensor& x, int64_t head_stride, const Norm& norm, const Tensor& cosine,
                                const Tensor& sine, int64_t heads) {
    const int64_t dim = norm.weight.size(0), frequencies = cosine.size(1);
    const Tensor result = make(DType::f32, Shape{x.size(0), heads * dim});
    const float* weight = norm.weight.data<float>();
    for_rows(x.size(0), heads * dim, [&](int64_t row) {
        float* normal = Scratch::floats(Scratch::rows, dim);
        for (int64_t head = 0; head < heads; ++head) {
            kernels_.rms_norm(x.row<float>(row) + head * head_stride, weight, 1.0f, norm.epsilon, normal,
                              dim);
            kernels_.rotate(normal, cosine.row<float>(row), sine.row<float>(row), frequencies, dim,
                            result.row<float>(row) + head * dim);
        }
    });
    return result;
}

Tensor CpuOps::gated_attention(const GatedAttentionInput& input, const Rotary& rotary, const KvLayer& cache,
                               const Batch& batch) {
    const int64_t dim = input.head_dim;
    SHEAF_CHECK(input.query_and_gate.size(1) == 2 * input.heads * dim && cache.keys.size(3) == dim);
    const auto [cosine, sine] = rotary_angles(batch.positions, rotary);
    const Tensor query =
        normalized_heads(input.query_and_gate, 2 * dim, input.q_norm, cosine, sine, input.heads);
    const Tensor key = normalized_heads(input.key, dim, input.k_norm, cosine, sine, input.kv_heads);
    write_kv(cache, key, input.value, batch);
    const Tensor result = make(DType::f32, query.shape());
    attend(query, cache, batch, input.heads, input.query_and_gate, result);
    return result;
}

}  // namespace sheaf::cpu
