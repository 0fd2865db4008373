#include "model/loader.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/counter_random.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "model/expert_source.h"
#include "weights/tensor_names.h"

namespace sheaf {
namespace {

constexpr size_t names_shown = 5;

std::string shortened(const std::vector<std::string>& names) {
    std::string text;
    for (size_t i = 0; i < std::min(names.size(), names_shown); ++i) text += (i ? ", " : "") + names[i];
    if (names.size() > names_shown) text += fmt::format(" and {} more", names.size() - names_shown);
    return text;
}

/// Lists what the model needs and the source lacks, before a byte of weights is read.
class MissingVisitor final : public WeightVisitor {
  public:
    MissingVisitor(WeightSource& source, const QuantizationHints& hints) : source_(source), hints_(hints) {}

    void linear(const std::string& module, Linear&, int64_t, int64_t) override {
        if (!find_weight_format(source_, module)) names.push_back(module + ".weight");
    }
    void vector(const std::string& name, Tensor&, Shape, Shape) override { need(name); }
    void table(const std::string& name, Tensor&, int64_t, int64_t) override { need(name); }
    void tied_linear(const std::string& name, Linear&, int64_t, int64_t) override { need(name); }
    void experts(const std::string& module, Experts&, int64_t count, int64_t hidden,
                 int64_t intermediate) override {
        const ExpertSource experts(source_, module, count, hidden, intermediate, hints_);
        std::vector<std::vector<std::string>> lacking(static_cast<size_t>(count));
        pool_.parallel_for(count, [&](int64_t e) { lacking[static_cast<size_t>(e)] = experts.missing(e); });
        for (const auto& some : lacking) names.insert(names.end(), some.begin(), some.end());
    }

    void expert(const std::string& module, Experts&, int64_t, int64_t) override {
        for (const char* part : {".gate_proj", ".up_proj", ".down_proj"})
            if (!find_weight_format(source_, module + part)) names.push_back(module + part + ".weight");
    }

    std::vector<std::string> names;

  private:
    void need(const std::string& name) {
        if (!source_.has(name)) names.push_back(name);
    }
    WeightSource& source_;
    const QuantizationHints& hints_;
    ThreadPool pool_;  // a large checkpoint has a hundred thousand tensors
};

class LoadingVisitor final : public WeightVisitor {
  public:
    LoadingVisitor(WeightSource& source, Model& model, Machine& machine, const LoadOptions& options,
                   uint64_t total)
        : source_(source), model_(model), machine_(machine), options_(options) {
        progress_.bytes_total = total;
        progress_.phase = "weights";
    }

    void linear(const std::string& module, Linear& slot, int64_t out, int64_t in) override {
        if (options_.random_by_machine && make_random(module, slot, out, in)) return advance(slot->bytes());
        guarded(module, [&] { slot = machine_.prepare(load(module, out, in)); });
        advance(slot->bytes());
    }

    void together(std::span<Linear* const> slots) override { machine_.join(slots); }
    void beside(const Experts& routed, Experts& shared) override { machine_.join_shared(routed, shared); }

    void vector(const std::string& name, Tensor& slot, Shape shape, Shape stored) override {
        guarded(name, [&] {
            const HostTensor values = take(name, stored, shape);
            slot = keep(machine_.upload(values.view.view(shape), DType::f32), DType::f32, shape);
        });
    }

    void table(const std::string& name, Tensor& slot, int64_t rows, int64_t columns) override {
        guarded(name, [&] {
            const Shape shape{rows, columns};
            const HostTensor values = take(name, shape, shape);
            const bool exact =
                machine_.compute_type() == ComputeType::f32 && values.view.dtype() != DType::bf16;
            const DType dtype = exact ? DType::f32 : DType::bf16;
            slot = keep(machine_.upload_table(values.view, dtype), dtype, shape);
        });
    }

    void tied_linear(const std::string& name, Linear& slot, int64_t out, int64_t in) override {
        // A file that holds a head of its own means it, whatever the configuration says; so does the
        // reference.
        if (find_weight_format(source_, "lm_head")) return linear("lm_head", slot, out, in);
        guarded(name, [&] {
            const Shape shape{out, in};
            HostLinear linear;
            linear.out = out;
            linear.in = in;
            linear.weight = DenseWeight{take(name, shape, shape)};
            slot = machine_.prepare(linear);
        });
        advance(slot->bytes());
    }

    void experts(const std::string& module, Experts& slot, int64_t count, int64_t hidden,
                 int64_t intermediate) override {
        if (options_.random_by_machine && make_random(module, slot, count, hidden, intermediate))
            return advance(slot->bytes());
        guarded(module, [&] {
            const ExpertSource experts(source_, module, count, hidden, intermediate,
                                       model_.config.quantization);
            slot = machine_.prepare_experts(count, hidden, intermediate,
                                            [&](int64_t e) { return experts.load(e); });
        });
        advance(slot->bytes());
    }

    void expert(const std::string& module, Experts& slot, int64_t hidden, int64_t intermediate) override {
        const auto group =
            options_.random_by_machine ? random_group(module + ".down_proj", intermediate) : std::nullopt;
        if (group) slot = machine_.random_experts(1, hidden, intermediate, *group, seed_of(module));
        if (slot) {
            for (const char* part : {".gate_proj", ".up_proj", ".down_proj"}) skip_module(module + part);
            return advance(slot->bytes());
        }
        guarded(module, [&] {
            slot = machine_.prepare_experts(1, hidden, intermediate, [&](int64_t) {
                return HostExpert{load(module + ".gate_proj", intermediate, hidden),
                                  load(module + ".up_proj", intermediate, hidden),
                                  load(module + ".down_proj", hidden, intermediate)};
            });
        });
        advance(slot->bytes());
    }

  private:
    HostLinear load(const std::string& module, int64_t out, int64_t in) {
        HostLinear weight = load_linear(source_, module, out, in, model_.config.quantization);
        // Quantizers write biases of zeros, which the formats drop; others would change the model's meaning.
        const bool expected = model_.config.text.attention_bias && module.find(".self_attn.") != module.npos;
        if (weight.bias.defined() && !expected)
            fail(ErrorKind::corrupt_file,
                 "{}.bias is not zero, and config.json does not call for a bias there", module);
        return weight;
    }

    /// The group size of a module in the source: 0 for 16 bits, none for a format that machines do not make.
    std::optional<int64_t> random_group(const std::string& module, int64_t in) const {
        if (const auto* scales = source_.find(module + ".scales"); scales && source_.has(module + ".qweight"))
            return (in + scales->shape[0] - 1) / scales->shape[0];
        const auto* weight = source_.find(module + ".weight");
        return weight && weight->dtype == DType::bf16 ? std::optional<int64_t>(0) : std::nullopt;
    }
    void skip_module(const std::string& module) {
        for (const char* part : {".weight", ".qweight", ".qzeros", ".scales"}) source_.skip(module + part);
    }
    static uint64_t seed_of(const std::string& module) { return hash_name(module.data(), module.size()); }

    bool make_random(const std::string& module, Linear& slot, int64_t out, int64_t in) {
        const auto group = random_group(module, in);
        if (group) slot = machine_.random_linear(out, in, *group, seed_of(module));
        if (!group || !slot) return false;
        skip_module(module);
        return true;
    }
    bool make_random(const std::string& module, Experts& slot, int64_t count, int64_t hidden,
                     int64_t intermediate) {
        const bool stacked = source_.has(module + ".gate_up_proj");
        const auto group =
            stacked ? std::optional<int64_t>(0) : random_group(module + ".0.down_proj", intermediate);
        if (group) slot = machine_.random_experts(count, hidden, intermediate, *group, seed_of(module));
        if (!group || !slot) return false;
        for (const char* name : {".gate_up_proj", ".down_proj"}) source_.skip(module + name);
        for (int64_t e = 0; e < count && !stacked; ++e)
            for (const char* name : {"gate_proj", "up_proj", "down_proj"})
                skip_module(fmt::format("{}.{}.{}", module, e, name));
        return true;
    }

    template <class Load>
    void guarded(const std::string& where, const Load& load) {
        try {
            load();
        } catch (Error& error) {
            // Errors about a tensor name it themselves.
            if (std::strstr(error.what(), where.c_str())) throw;
            throw error.at(where);
        }
    }

    HostTensor take(const std::string& name, const Shape& stored, const Shape& shape) {
        HostTensor values = source_.take(name);
        // Convolution taps come as (channels, 1, kernel) or (channels, kernel).
        if (values.view.shape() != stored && values.view.shape() != shape)
            fail(ErrorKind::corrupt_file, "{} has shape {}, expected {} from config.json", name,
                 values.view.shape().to_string(), stored.to_string());
        const DType dtype = values.view.dtype();
        if (dtype != DType::f32 && dtype != DType::bf16 && dtype != DType::f16)
            fail(ErrorKind::unsupported, "{} is {}, expected BF16, F16 or F32", name, dtype_name(dtype));
        return values;
    }

    Tensor keep(const Buffer& buffer, DType dtype, const Shape& shape) {
        advance(buffer.bytes());
        model_.storage.push_back(buffer);
        return buffer.tensor(dtype, shape);
    }

    void advance(uint64_t bytes) {
        model_.weight_bytes += bytes;
        progress_.bytes_done += bytes;
        if (options_.progress) options_.progress(progress_);
    }

    WeightSource& source_;
    Model& model_;
    Machine& machine_;
    const LoadOptions& options_;
    LoadProgress progress_;
};

/// The decoder layer a tensor belongs to, -1 for none.
int64_t layer_of(std::string_view name) {
    constexpr std::string_view prefix = "model.language_model.layers.";
    if (!name.starts_with(prefix)) return -1;
    int64_t layer = -1;
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), layer);
    return layer;
}

/// Skips the tensors a text model may leave alone: vision, multi-token prediction, constants of old files,
/// and the layers from `first_skipped` up to `all_layers` that the caller does not want. Returns the bytes of
/// all others.
uint64_t skip_known(WeightSource& source, int64_t first_skipped, int64_t all_layers) {
    bool vision = false, mtp = false;
    uint64_t bytes = 0;
    for (const std::string& name : source.unused()) {
        const bool is_vision = name.starts_with("model.visual."), is_mtp = name.starts_with("mtp.");
        const bool constant = name.ends_with(".inv_freq");
        const int64_t layer = layer_of(name);
        const bool unwanted = layer >= first_skipped && layer < all_layers;
        if (!is_vision && !is_mtp && !constant && !unwanted) {
            const auto* info = source.find(name);
            bytes += static_cast<uint64_t>(info->shape.elements()) * dtype_size(info->dtype);
            continue;
        }
        vision |= is_vision;
        mtp |= is_mtp;
        source.skip(name);
    }
    if (vision) log::debug("vision tensors are not loaded: this build serves text");
    if (mtp) log::debug("multi-token prediction tensors are not loaded");
    return bytes;
}

void check_memory(uint64_t bytes, const Machine& machine) {
    const size_t available = machine.available_memory();
    if (bytes <= available) return;
    fail(ErrorKind::out_of_memory,
         "the weights need {:.1f} GiB and {} has {:.1f} GiB free; free memory, use another machine{} or a "
         "smaller checkpoint",
         static_cast<double>(bytes) / 0x1p30, machine.name(), static_cast<double>(available) / 0x1p30,
         machine.dedicated_memory() ? " (--device)" : "");
}

Rotary upload_rotary(Model& model, Machine& machine) {
    const TextConfig& text = model.config.text;
    Rotary rotary;
    std::vector<float> frequencies = rotary_frequencies(text.rope, text.head_dim, &rotary.scale);
    std::vector<int32_t> axes = rotary_axes(text.rope, static_cast<int64_t>(frequencies.size()));
    const Shape shape{static_cast<int64_t>(frequencies.size())};
    const Buffer f = machine.upload(Tensor(frequencies.data(), DType::f32, shape), DType::f32);
    const Buffer a = machine.upload(Tensor(axes.data(), DType::i32, shape), DType::i32);
    model.storage.push_back(f);
    model.storage.push_back(a);
    rotary.frequencies = f.tensor(DType::f32, shape);
    rotary.axes = a.tensor(DType::i32, shape);
    return rotary;
}

}  // namespace

std::unique_ptr<Checkpoint> open_checkpoint(const std::filesystem::path& folder) {
    auto checkpoint = Checkpoint::open(folder);
    refuse_known_foreign_layouts(*checkpoint);
    checkpoint->rename(canonical_tensor_name);
    return checkpoint;
}

std::shared_ptr<Model> load_model(WeightSource& source, ModelConfig config, Machine& machine,
                                  const LoadOptions& options) {
    const int64_t all_layers = config.text.num_hidden_layers;
    if (options.layers > 0 && options.layers < config.text.num_hidden_layers) {
        config.text.num_hidden_layers = options.layers;
        config.text.layer_types.resize(static_cast<size_t>(options.layers));
    }
    auto model = std::make_shared<Model>();
    model->config = std::move(config);
    model->text = TextModel(model->config.text);

    MissingVisitor missing(source, model->config.quantization);
    model->text.for_each_weight(model->config, missing);
    const uint64_t total = skip_known(source, model->config.text.num_hidden_layers, all_layers);
    if (!missing.names.empty())
        fail(ErrorKind::corrupt_file, "{} tensors that config.json calls for are missing: {}{}",
             missing.names.size(), shortened(missing.names),
             "; the checkpoint is incomplete or its config.json belongs to another");

    check_memory(total, machine);
    LoadingVisitor loading(source, *model, machine, options, total);
    model->text.for_each_weight(model->config, loading);
    model->text.rotary = upload_rotary(*model, machine);

    if (const auto left = source.unused(); !left.empty())
        fail(ErrorKind::corrupt_file,
             "{} tensors of the checkpoint have no place in the model that config.json describes: {}",
             left.size(), shortened(left));
    return model;
}

}  // namespace sheaf
