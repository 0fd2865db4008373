#include "model/random_weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <unordered_map>

#include "base/counter_random.h"
#include "model/module_pattern.h"
#include "model/text_model.h"

namespace sheaf {
namespace {

enum class Fill { uniform, int4_codes, int4_scales, int4_zeros, fp8, ones };

struct Entry {
    WeightSource::Info info;
    Fill fill = Fill::uniform;
    float center = 0, spread = 0;  // uniform: center +- spread
    mutable std::atomic<bool> used{false};
    Entry(WeightSource::Info i, Fill f, float c, float s) : info(i), fill(f), center(c), spread(s) {}
};

float uniform(uint64_t key, uint64_t counter) {
    return static_cast<float>(static_cast<int64_t>(counter_random_bits(key, counter)) * 0x1.0p-63);
}

void fill(const Entry& entry, uint64_t key, Tensor out) {
    const int64_t count = out.elements();
    auto each = [&](auto* data, auto make) {
        for (int64_t i = 0; i < count; ++i) data[i] = make(static_cast<uint64_t>(i));
    };
    switch (entry.fill) {
        case Fill::uniform:
            if (out.dtype() == DType::bf16) {
                each(out.data<bfloat16>(),
                     [&](uint64_t i) { return bfloat16(entry.center + entry.spread * uniform(key, i)); });
            } else {
                each(out.data<float>(),
                     [&](uint64_t i) { return entry.center + entry.spread * uniform(key, i); });
            }
            break;
        case Fill::int4_codes:
            for (int64_t i = 0; i + 1 < count; i += 2) {
                const uint64_t bits = counter_random_bits(key, static_cast<uint64_t>(i));
                std::memcpy(out.data<int32_t>() + i, &bits, sizeof bits);
            }
            break;
        case Fill::int4_scales:  // AutoRound's scales carry a sign
            each(out.data<float16>(), [&](uint64_t i) {
                const float value = uniform(key, i);
                return float16(std::copysign(entry.spread * (0.75f + 0.5f * std::abs(value)), value));
            });
            break;
        case Fill::int4_zeros:
            each(out.data<int32_t>(), [&](uint64_t) { return static_cast<int32_t>(0x77777777); });
            break;
        case Fill::fp8:  // any code but NaN; magnitudes up to 2
            each(static_cast<uint8_t*>(out.raw()), [&](uint64_t i) {
                const uint64_t bits = counter_random_bits(key, i);
                return static_cast<uint8_t>((bits & 0x80) | (bits % 0x40));
            });
            break;
        case Fill::ones:
            each(out.data<bfloat16>(), [&](uint64_t) { return bfloat16(entry.spread); });
            break;
    }
}

class RandomWeights final : public WeightSource, public WeightVisitor {
  public:
    RandomWeights(const ModelConfig& config, uint64_t seed) : config_(config), seed_(seed) {
        const std::string& method = config.quantization.method;
        gptq_ = method == "auto-round" || method == "gptq";
        fp8_ = method == "fp8";
        if (!method.empty() && !gptq_ && !fp8_)
            fail(ErrorKind::unsupported,
                 "random weights cannot be made in quantization '{}' (auto-round, gptq, fp8)", method);
        if (gptq_ && config.quantization.bits != 4)
            fail(ErrorKind::unsupported, "random weights with {} bits (4 is supported)",
                 config.quantization.bits);
        TextModel(config.text).for_each_weight(config, *this);
    }

    // --- enumeration
    // -----------------------------------------------------------------------------------------------
    void linear(const std::string& module, Linear&, int64_t out, int64_t in) override {
        add_linear(module, out, in);
    }
    void tied_linear(const std::string&, Linear&, int64_t, int64_t) override {}
    void table(const std::string& name, Tensor&, int64_t rows, int64_t columns) override {
        add(name, DType::bf16, Shape{rows, columns}, Fill::uniform, 0, 1.0f);
    }
    void vector(const std::string& name, Tensor&, Shape, Shape stored) override {
        if (name.ends_with("A_log")) {
            add(name, DType::f32, stored, Fill::uniform, 0.5f, 1.5f);
        } else if (name.ends_with("linear_attn.norm.weight")) {
            add(name, DType::f32, stored, Fill::uniform, 1.0f, 0.1f);
        } else {
            add(name, DType::bf16, stored, Fill::uniform, 0, name.ends_with("conv1d.weight") ? 0.5f : 0.1f);
        }
    }
    void experts(const std::string& module, Experts&, int64_t count, int64_t hidden,
                 int64_t intermediate) override {
        if (!is_quantized_module(config_, module + ".0.down_proj", hidden, intermediate)) {
            const float spread = std::sqrt(3.0f / static_cast<float>(hidden));
            add(module + ".gate_up_proj", DType::bf16, Shape{count, 2 * intermediate, hidden}, Fill::uniform,
                0, spread);
            add(module + ".down_proj", DType::bf16, Shape{count, hidden, intermediate}, Fill::uniform, 0,
                spread);
            return;
        }
        for (int64_t e = 0; e < count; ++e) {
            for (const char* name : {"gate_proj", "up_proj"})
                add_linear(fmt::format("{}.{}.{}", module, e, name), intermediate, hidden);
            add_linear(fmt::format("{}.{}.down_proj", module, e), hidden, intermediate);
        }
    }

    void expert(const std::string& module, Experts&, int64_t hidden, int64_t intermediate) override {
        for (const char* part : {".gate_proj", ".up_proj"}) add_linear(module + part, intermediate, hidden);
        add_linear(module + ".down_proj", hidden, intermediate);
    }

    // --- source
    // ----------------------------------------------------------------------------------------------------
    const Info* find(std::string_view name) const override {
        const auto found = entries_.find(std::string(name));
        return found == entries_.end() ? nullptr : &found->second.info;
    }
    HostTensor take(std::string_view name) override {
        const auto found = entries_.find(std::string(name));
        if (found == entries_.end()) fail(ErrorKind::not_found, "random weights have no tensor {}", name);
        found->second.used = true;
        HostTensor tensor(found->second.info.dtype, found->second.info.shape);
        fill(found->second, hash_name(name.data(), name.size()) ^ seed_, tensor.view);
        return tensor;
    }
    void skip(std::string_view name) override {
        const auto found = entries_.find(std::string(name));
        if (found != entries_.end()) found->second.used = true;
    }
    std::vector<std::string> names() const override {
        return select([](const Entry&) { return true; });
    }
    std::vector<std::string> unused() const override {
        return select([](const Entry& entry) { return !entry.used; });
    }
    std::string where(std::string_view) const override { return "random weights"; }

  private:
    void add(const std::string& name, DType dtype, Shape shape, Fill how, float center, float spread) {
        entries_.try_emplace(name, Info{dtype, shape}, how, center, spread);
    }

    void add_linear(const std::string& module, int64_t out, int64_t in) {
        const float spread = std::sqrt(3.0f / static_cast<float>(in));  // unit variance in, unit variance out
        if (!is_quantized_module(config_, module, out, in)) {
            add(module + ".weight", DType::bf16, Shape{out, in}, Fill::uniform, 0, spread);
            return;
        }
        const QuantizationHints& hints = config_.quantization;
        if (fp8_) {
            const int64_t rows = (out + hints.fp8_block_rows - 1) / hints.fp8_block_rows;
            const int64_t columns = (in + hints.fp8_block_columns - 1) / hints.fp8_block_columns;
            add(module + ".weight", DType::f8_e4m3, Shape{out, in}, Fill::fp8, 0, 0);
            add(module + ".weight_scale_inv", DType::bf16, Shape{rows, columns}, Fill::ones, 0, spread);
            return;
        }
        const int64_t group = hints.group_size > 0 ? std::min(hints.group_size, in) : in;
        const int64_t groups = (in + group - 1) / group;
        add(module + ".qweight", DType::i32, Shape{in / 8, out}, Fill::int4_codes, 0, 0);
        add(module + ".qzeros", DType::i32, Shape{groups, out / 8}, Fill::int4_zeros, 0, 0);
        // Uniform 4-bit codes have a standard deviation of 4.6.
        add(module + ".scales", DType::f16, Shape{groups, out}, Fill::int4_scales, 0,
            1.0f / (4.6f * std::sqrt(static_cast<float>(in))));
    }

    template <class Keep>
    std::vector<std::string> select(const Keep& keep) const {
        std::vector<std::string> names;
        for (const auto& [name, entry] : entries_)
            if (keep(entry)) names.push_back(name);
        std::sort(names.begin(), names.end());
        return names;
    }

    ModelConfig config_;
    uint64_t seed_;
    bool gptq_ = false, fp8_ = false;
    std::unordered_map<std::string, Entry> entries_;
};

}  // namespace

std::unique_ptr<WeightSource> make_random_weights(const ModelConfig& config, uint64_t seed) {
    return std::make_unique<RandomWeights>(config, seed);
}

bool is_quantized_module(const ModelConfig& config, const std::string& module, int64_t out, int64_t in) {
    if (config.quantization.method.empty() || out % 32 != 0 || in % 32 != 0) return false;
    for (const char* kept : {"lm_head", ".mlp.gate", ".shared_expert_gate"})
        if (module.ends_with(kept)) return false;
    // Entries name the module or one of its parents: compare at every dot.
    if (matches_any_module(config.unquantized_modules, module)) {
        for (const std::string& pattern : config.unquantized_modules) {
            const bool exact_kind = pattern.find_first_of("*+?^$()[]{}|\\") == std::string::npos;
            if (!exact_kind && matches_module(pattern, module)) return false;
            if (exact_kind && (module == pattern || module.starts_with(pattern + "."))) return false;
        }
    }
    return true;
}

}  // namespace sheaf
