// How large a model is, by arithmetic alone: the bytes of each family of weights, what a sequence costs in
// memory, what one decode step must read, and what therefore fits where and how fast it can be at best. Used
// by inspect, plan, and by checks before loading. Reads names and shapes, never weights. Must not know
// machines.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "weights/weight_source.h"

namespace sheaf {

enum class WeightFamily {
    embedding,
    head,
    attention,
    delta_net,
    router,
    shared_expert,
    routed_experts,
    dense_mlp,
    norms,
    vision,
    mtp,
    other
};
constexpr int weight_families = 12;
std::string_view family_name(WeightFamily family);
/// By canonical tensor name.
WeightFamily weight_family(std::string_view tensor);

struct FamilySize {
    int64_t tensors = 0;
    uint64_t file_bytes = 0;
    uint64_t resident_bytes = 0;             // without zero points that are all the same (symmetric int4)
    int64_t parameters = 0;                  // numbers of the model, however they are packed
    std::map<std::string, int64_t> formats;  // "int4 gptq" -> how many modules or tensors are stored so
};

/// Everything a checkpoint (or RandomWeights of a bare config.json) holds, under canonical names.
struct Footprint {
    std::array<FamilySize, weight_families> families;
    const FamilySize& operator[](WeightFamily family) const { return families[static_cast<size_t>(family)]; }

    int64_t tensors() const;
    uint64_t file_bytes() const;
    /// Bytes of what text generation keeps in memory: all but vision and multi-token prediction.
    uint64_t text_bytes() const;
    int64_t parameters() const;  // of the text model
};
Footprint measure_footprint(const WeightSource& source, const ModelConfig& config);

/// Bytes per number in the caches.
struct CacheTypes {
    int kv_bytes = 2;     // 4, 2 or 1
    int state_bytes = 4;  // of the recurrent state: 4 or 2; the convolution's is 4
};

/// model/memory.h's figures for other types of cache.
uint64_t kv_bytes_per_token(const TextConfig& text, const CacheTypes& types);
uint64_t state_bytes_per_sequence(const TextConfig& text, const CacheTypes& types);

/// Experts of a layer that `batch` tokens touch when routing is uniform: E (1 - (1 - k/E)^batch).
double touched_experts(const TextConfig& text, double batch);

/// FLOPs of one token in the recurrences, and in attention over `context` tokens, over all layers.
double recurrence_flops(const TextConfig& text);
double attention_flops(const TextConfig& text, double context);

/// What one decode step of `batch` sequences, each with `context` tokens, must move and compute at least.
struct StepCost {
    double weight_bytes = 0, state_bytes = 0, kv_bytes = 0, flops = 0;
    double bytes() const { return weight_bytes + state_bytes + kv_bytes; }
};
StepCost decode_step(const ModelConfig& config, const Footprint& footprint, const CacheTypes& types,
                     int64_t batch, int64_t context);
/// FLOPs of one prompt token, attention over `context` earlier tokens included, head left out.
double prefill_flops_per_token(const ModelConfig& config, const Footprint& footprint, int64_t context);

}  // namespace sheaf
