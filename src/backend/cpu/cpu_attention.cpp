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
constexpr int64_t span = 1024;  // keys; a multiple of key_block

/// One query tile's work.
struct TileTask {
    const SequenceSpan* sequence;
    int64_t kv_head,
        first_query;  // queries of (sequence, kv head) number row * group + head within the group
    int64_t keys;     // [0, keys) are visible to some lane
    int64_t spans() const { return (keys + span - 1) / span; }
};

struct AttentionShape {
    const Tensor& query;
    const KvLayer& cache;
    int64_t heads, kv_heads, head_dim, group;

    int64_t part_floats() const { return (head_dim + 2) * lanes; }
    AttentionPart part(float* memory) const { return {memory + 2 * lanes, memory, memory + lanes}; }
    int64_t query_offset(int64_t kv_head, int64_t query_index) const {  // within the row
        return (kv_head * group + query_index % group) * head_dim;
    }
};

KvView view_of(const AttentionShape& shape, const TileTask& task) {
    const Tensor &keys = shape.cache.keys, &values = shape.cache.values;
    const int64_t offset = task.kv_head * shape.head_dim * static_cast<int64_t>(dtype_size(keys.dtype()));
    KvView view;
    view.keys = static_cast<const char*>(keys.raw()) + offset;
    view.values = static_cast<const char*>(values.raw()) + offset;
    view.is_bf16 = keys.dtype() == DType::bf16;
    view.blocks = task.sequence->blocks.data();
    view.block_size = keys.size(1);
    view.position_stride = shape.kv_heads * shape.head_dim;
    view.block_stride = keys.row_stride();
    view.head_dim = shape.head_dim;
    return view;
}

/// Gathers a tile's queries, scaled, transposed.
QueryTile gather_queries(const AttentionShape& shape, const TileTask& task, float* memory) {
    const float factor = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
    const int64_t total = task.sequence->count * shape.group;
    QueryTile tile;
    tile.queries = memory;
    for (int64_t lane = 0; lane < lanes; ++lane) {
        const int64_t index = task.first_query + lane;
        tile.last[lane] = -1;
        if (index >= total) {
            for (int64_t d = 0; d < shape.head_dim; ++d) memory[d * lanes + lane] = 0.0f;
            continue;
        }
        const int64_t row = index / shape.group;
        const float* q =
            shape.query.row<float>(task.sequence->begin + row) + shape.query_offset(task.kv_head, index);
        for (int64_t d = 0; d < shape.head_dim; ++d) memory[d * lanes + lane] = q[d] * factor;
        tile.last[lane] = static_cast<int32_t>(task.sequence->context + row);
    }
    return tile;
}

void store_output(const Kernels& kernels, const AttentionShape& shape, const TileTask& task,
                  const AttentionPart& total, const Tensor& gate, const Tensor& result) {
    kernels.finish_attention(total, shape.head_dim);
    const int64_t count = std::min(lanes, task.sequence->count * shape.group - task.first_query);
    for (int64_t lane = 0; lane < count; ++lane) {
        const int64_t index = task.first_query + lane, row = task.sequence->begin + index / shape.group;
        const int64_t offset = shape.query_offset(task.kv_head, index);
        float* y = result.row<float>(row) + offset;
        for (int64_t d = 0; d < shape.head_dim; ++d) y[d] = total.output[d * lanes + lane];
        if (gate.defined())  // per head: query, gate
            kernels.multiply_sigmoid(y, gate.row<float>(row) + 2 * offset + shape.head_dim, y,
                                     shape.head_dim);
    }
}

}  // namespace

void CpuOps::attend(const Tensor& query, const KvLayer& cache, const Batch& batch, int64_t heads,
                    const Tensor& gate, const Tensor& result) {
    const int64_t kv_heads = cache.keys.size(2), head_dim = cache.keys.size(3);
    SHEAF_CHECK(heads % kv_heads == 0 && query.size(1) == heads * head_dim);
    SHEAF_CHECK(cache.keys.dtype() == cache.values.dtype() &&
                (cache.keys.dtype() == DType::bf16 || cache.keys.dtype() == DType::f32));
    const AttentionShape shape{query, cache, heads, kv_heads, head_dim, heads / kv_heads};
    std::vector<TileTask> tasks;
    int64_t parts = 0;
    for (const SequenceSpan& sequence : batch.sequences)
        for (int64_t first = 0; first < sequence.count * shape.group; first += lanes)
            for (int64_t head = 0; head < kv_heads; ++head) {
                const int64_t last = std::min(first + lanes, sequence.count * shape.group) - 1;
                tasks.push_back({&sequence, head, first, sequence.context + last / shape.group + 1});
                parts += tasks.back().spans();
            }
    auto attend_span = [&](const TileTask& task, int64_t index, const AttentionPart& part) {
        const int64_t size = shape.head_dim * lanes;
        float* memory = Scratch::floats(Scratch::rows, size + attention_scratch(head_dim));
        const QueryTile tile = gather_queries(shape, task, memory);
        kernels_.attend(view_of(shape, task), tile, index * span, std::min(task.keys, (index + 1) * span),
                        memory + size, part);
    };
    const int64_t count = std::ssize(tasks);
    if (count >= 4 * pool_.thread_count() || parts == count) {
        pool_.parallel_for(count, [&](int64_t t) {
            const TileTask& task = tasks[static_cast<size_t>(t)];
            float* memory = Scratch::floats(Scratch::outputs, 2 * shape.part_floats());
            const AttentionPart total = shape.part(memory), part = shape.part(memory + shape.part_floats());
            for (int64_t s = 0; s < task.spans(); ++s) {
                attend_span(task, s, s == 0 ? total : part);
                if (s > 0) kernels_.merge_attention(total, part, head_dim);
            }
            store_output(kernels_, shape, task, total, gate, result);
        });
        return;
    }
    std::vector<int64_t> first_part(tasks.size() + 1, 0);
    std::vector<int64_t> task_of_part;
    for (size_t t = 0; t < tasks.size(); ++t) {
        first_part[t + 1] = first_part[t] + tasks[t].spans();
        task_of_part.resize(static_cast<size_t>(first_part[t + 1]), static_cast<int64_t>(t));
    }
    float* memory = make(DType::f32, Shape{parts, shape.part_floats()}).data<float>();
    auto part_at = [&](int64_t i) { return shape.part(memory + i * shape.part_floats()); };
    pool_.parallel_for(parts, [&](int64_t i) {
        const auto t = static_cast<size_t>(task_of_part[static_cast<size_t>(i)]);
        attend_span(tasks[t], i - first_part[t], part_at(i));
    });
    pool_.parallel_for(count, [&](int64_t i) {
        const auto t = static_cast<size_t>(i);
        const AttentionPart total = part_at(first_part[t]);
        for (int64_t s = first_part[t] + 1; s < first_part[t + 1]; ++s)
            kernels_.merge_attention(total, part_at(s), head_dim);
        store_output(kernels_, shape, tasks[t], total, gate, result);
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
