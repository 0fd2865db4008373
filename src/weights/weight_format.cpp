#include "weights/weight_format.h"

#include "weights/formats.h"

namespace sheaf {
namespace {

// Why the tensor `name` belongs to a layout that we know and do not run, or "".
std::string_view foreign_layout(const WeightSource& source, std::string_view name) {
    const auto has_sibling = [&](std::string_view suffix, std::string_view sibling) {
        return source.has(std::string(name.substr(0, name.size() - suffix.size())).append(sibling));
    };
    const auto* info = source.find(name);
    const int rank = info ? info->shape.rank() : 0;
    if (name.starts_with("blk.") || name.starts_with("token_embd."))
        return "GGUF tensor names: use the model's safetensors folder";
    if (name.find(".switch_mlp.") != name.npos ||
        (name.ends_with(".biases") && has_sibling("biases", "scales")))
        return "MLX: use the original checkpoint or one quantized by AutoRound, GPTQ or AWQ";
    if (name.ends_with(".conv1d.weight") && rank == 3 && info->shape[1] != 1 && info->shape[2] == 1)
        return "MLX (moved convolution axis): use the original checkpoint";
    if (name.ends_with(".weight_scale_2") || name.ends_with(".weight_global_scale"))
        return "NVFP4: use the BF16, FP8 or 4-bit integer release of the model";
    if (name.find(".quant_state.") != name.npos || name.ends_with(".absmax") || name.ends_with(".SCB"))
        return "bitsandbytes: save the model in BF16, or quantize it with AutoRound, GPTQ or AWQ";
    if (name.ends_with(".qweight") && rank == 3)
        return "stacked GPTQ (one 3-D qweight for all experts): quantize it with one qweight per expert";
    return "";
}

// Only the tensors that a module could have; refuse_known_foreign_layouts looks at all.
void refuse_foreign_module(const WeightSource& source, std::string_view module) {
    for (std::string_view suffix :
         {"biases", "weight_scale_2", "weight_global_scale", "weight.absmax", "SCB",
          "weight.quant_state.bitsandbytes__nf4", "weight.quant_state.bitsandbytes__fp4", "qweight"}) {
        const std::string name = tensor_name(module, suffix);
        if (!source.has(name)) continue;
        const std::string_view layout = foreign_layout(source, name);
        if (!layout.empty()) fail(ErrorKind::unsupported, "{} ({}) is {}", name, source.where(name), layout);
    }
    const auto* scales = source.find(tensor_name(module, "scales"));
    const auto* zeros = source.find(tensor_name(module, "qzeros"));
    if (!scales || !zeros || scales->shape.rank() != 2 || zeros->shape.rank() != 2) return;
    const int64_t out = scales->shape[1];
    for (int bits : {2, 3, 8})
        if (out > 0 && out % 8 == 0 && zeros->shape[1] * 32 == out * bits)
            fail(ErrorKind::unsupported, "{} holds {}-bit integers; only 4 bits are supported", module, bits);
}

}  // namespace

const std::vector<std::unique_ptr<WeightFormat>>& weight_formats() {
    static const auto formats = [] {
        std::vector<std::unique_ptr<WeightFormat>> list;
        list.push_back(make_compressed_tensors_format());
        list.push_back(make_awq_format());  // before GPTQ: the same suffixes, told apart by the shape
        list.push_back(make_gptq_format());
        list.push_back(make_fp8_format());
        for (DType dtype : {DType::bf16, DType::f16, DType::f32}) list.push_back(make_dense_format(dtype));
        return list;
    }();
    return formats;
}

const WeightFormat* find_weight_format(const WeightSource& source, std::string_view module) {
    refuse_foreign_module(source, module);
    for (const auto& format : weight_formats())
        if (format->accepts(source, module)) return format.get();
    for (std::string_view suffix : {"weight", "qweight", "weight_packed"}) {
        const std::string name = tensor_name(module, suffix);
        if (const auto* info = source.find(name))
            fail(ErrorKind::unsupported, "{} ({}) is {} {}, which is no weight format that we read", name,
                 source.where(name), dtype_name(info->dtype), info->shape.to_string());
    }
    return nullptr;
}

HostLinear load_linear(WeightSource& source, std::string_view module, int64_t out, int64_t in,
                       const QuantizationHints& hints) {
    SHEAF_CHECK(out > 0 && in > 0, "{}: ({}, {})", module, out, in);
    const WeightFormat* format = find_weight_format(source, module);
    if (!format)
        fail(ErrorKind::not_found,
             "{} has no weight for {} (neither .weight nor .qweight nor .weight_packed)",
             source.where(module), module);
    return format->load(source, module, out, in, hints);
}

void refuse_known_foreign_layouts(const WeightSource& source) {
    for (const std::string& name : source.names()) {
        const std::string_view layout = foreign_layout(source, name);
        if (!layout.empty())
            fail(ErrorKind::unsupported, "the checkpoint is {} (tensor {} in {})", layout, name,
                 source.where(name));
    }
}

}  // namespace sheaf
