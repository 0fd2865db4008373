// Sampling: time per step by kind of request and number of rows, beside the time to read the logits once.
#include "backend/cuda/sampling.h"

#include <cmath>
#include <cstdio>

#include "backend/cuda/testing/device_tensor.h"

namespace sheaf::cuda {
namespace {

using testing::DeviceTensor;

constexpr int64_t vocabulary = 248320, most_rows = 256;

struct Kind {
    const char* name;
    RowSampling row;
    int32_t logprobs = -1;
};

float milliseconds(const Kind& kind, int64_t rows, SamplingForm form, const DeviceTensor& logits) {
    std::vector<RowSampling> records(static_cast<size_t>(rows), kind.row);
    for (size_t i = 0; i < records.size(); ++i) records[i].uniform = counter_random_uniform(5, i);
    DeviceTensor choices(DType::u8, Shape{rows, static_cast<int64_t>(sizeof(RowSampling))});
    choices.copy_in(records.data());
    const int64_t best = std::max(kind.logprobs, 0);
    const DeviceTensor chosen(DType::i32, Shape{rows, 4}), ids(DType::i32, Shape{rows, best}),
        logprobs(DType::f32, Shape{rows, best});
    const DeviceTensor scratch(
        DType::u8,
        Shape{static_cast<int64_t>(sampling_scratch_bytes(rows, vocabulary, kind.logprobs, form) + 1)});
    cudaStream_t stream = nullptr;
    cudaEvent_t begin = nullptr, end = nullptr;
    check(cudaStreamCreate(&stream), "bench");
    check(cudaEventCreate(&begin), "bench");
    check(cudaEventCreate(&end), "bench");
    constexpr int repeats = 20;
    const int64_t turns = most_rows / rows;
    for (int i = -2; i < repeats; ++i) {
        if (i == 0) check(cudaEventRecord(begin, stream), "bench");
        const int64_t first = (i + 2) % turns * rows;
        sample(logits.view().rows(first, first + rows),
               {.rows = choices, .edits = {}, .masks = {}, .chosen = {}, .logprobs = kind.logprobs},
               {chosen, ids, logprobs}, scratch, form, stream);
    }
    check(cudaEventRecord(end, stream), "bench");
    check(cudaEventSynchronize(end), "bench");
    float time = 0;
    check(cudaEventElapsedTime(&time, begin, end), "bench");
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    cudaStreamDestroy(stream);
    return time / repeats;
}

void run() {
    std::vector<float> values;
    const int64_t distinct = vocabulary * 8;
    for (int64_t i = 0; i < distinct; ++i) {
        const double a = counter_random_uniform(1, static_cast<uint64_t>(i)),
                     b = counter_random_uniform(2, static_cast<uint64_t>(i));
        values.push_back(static_cast<float>(2.5 * std::sqrt(-2 * std::log(a)) * std::cos(6.2831853 * b)));
    }
    std::vector<float> all;
    for (int64_t i = 0; i < most_rows / 8; ++i) all.insert(all.end(), values.begin(), values.end());
    const DeviceTensor logits(DType::f32, Shape{most_rows, vocabulary}, all);
    const Kind kinds[] = {{"greedy", {}},
                          {"temperature", {.temperature = 1}},
                          {"top-k 20, top-p 0.95", {.temperature = 0.7f, .top_p = 0.95f, .top_k = 20}},
                          {"top-p 0.5, cold", {.temperature = 0.3f, .top_p = 0.5f}},
                          {"top-p 0.95, hot", {.temperature = 1, .top_p = 0.95f}},
                          {"min-p 0.05", {.temperature = 1, .min_p = 0.05f}},
                          {"greedy, 5 logprobs", {}, 5}};
    std::printf("%-24s %-8s", "us", "form");
    for (const int64_t rows : {1, 8, 32, 64, 256}) std::printf("%9lld", static_cast<long long>(rows));
    std::printf("\n");
    for (const SamplingForm form : {SamplingForm::cluster, SamplingForm::block}) {
        if (form == SamplingForm::cluster && sampling_form(vocabulary) != form) continue;
        for (const Kind& kind : kinds) {
            std::printf("%-24s %-8s", kind.name, form == SamplingForm::cluster ? "cluster" : "block");
            for (const int64_t rows : {1, 8, 32, 64, 256})
                std::printf("%9.1f", 1000 * static_cast<double>(milliseconds(kind, rows, form, logits)));
            std::printf("\n");
        }
    }
}

}  // namespace
}  // namespace sheaf::cuda

int main() {
    sheaf::cuda::run();
}
