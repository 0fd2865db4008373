// Linear layers: the weight's tiles, and for long batches the rows too, divided over the threads.
#include <algorithm>
#include <cstring>
#include <vector>

#include "backend/cpu/cpu_ops.h"
#include "backend/cpu/cpu_weights.h"
#include "backend/cpu/matrix_product.h"

namespace sheaf::cpu {
namespace {

constexpr int64_t lanes = PackedMatrix::tile_outputs;
constexpr int64_t rows_per_task = 96;     // of inputs that stay in the second-level cache
constexpr int64_t tasks_per_thread = 16;  // against uneven ends

int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

}  // namespace

Tensor CpuOps::product(const Kernels& kernels, const Tensor& x, const Linear& weight) {
    const PackedMatrix& w = cpu_linear(weight).matrix();
    SHEAF_CHECK(x.rank() == 2 && x.size(1) == w.in, "{} by a weight of {} inputs", x.shape().to_string(),
                w.in);
    const int64_t rows = x.size(0);
    const Tensor result = make(DType::f32, Shape{rows, w.out});
    if (rows == 0) return result;

    ReadyRows ready{row_layout(kernels, w, rows), nullptr, nullptr};
    const int64_t height = ready.layout.height;
    if (usable_directly(ready.layout, w)) {
        ready.blocks = x.data<float>();
    } else {
        ready.blocks = make(DType::f32, Shape{ready.layout.block_floats()}).data<float>();
        ready.sums = make(DType::f32, Shape{ready.layout.sum_floats}).data<float>();
        std::vector<const float*> sources(static_cast<size_t>(rows));
        for (int64_t r = 0; r < rows; ++r) sources[static_cast<size_t>(r)] = x.row<float>(r);
        pool_.parallel_for(ready.layout.blocks(), [&](int64_t block) {
            make_ready(kernels, w, sources.data(), block * height, ready);
        });
    }

    const int64_t step = kernels.tile_batch;
    const int64_t strip = std::max(height, rows_per_task / height * height);  // rows of a task
    const int64_t strips = ceil_div(rows, strip);
    const int64_t wanted = ceil_div(tasks_per_thread * pool_.thread_count(), strips);
    const int64_t tiles = std::max<int64_t>(1, w.tiles() / wanted / step) * step;  // tiles of a task
    const int64_t ranges = ceil_div(w.tiles(), tiles);
    pool_.parallel_for(strips * ranges, [&](int64_t task) {
        const int64_t row = task / ranges * strip, count = std::min(strip, rows - row);
        const int64_t end = std::min(w.tiles(), (task % ranges + 1) * tiles);
        float* y = Scratch::floats(Scratch::outputs, count * step * lanes);
        for (int64_t tile = task % ranges * tiles; tile < end; tile += step) {
            const int64_t width = std::min(step, end - tile);
            multiply_tiles(kernels, w, ready, row, count, tile, width, y);
            const int64_t columns = std::min(width * lanes, w.out - tile * lanes);
            for (int64_t r = 0; r < count; ++r)
                std::memcpy(result.row<float>(row + r) + tile * lanes, y + r * width * lanes,
                            static_cast<size_t>(columns) * sizeof(float));
        }
    });
    return result;
}

}  // namespace sheaf::cpu
