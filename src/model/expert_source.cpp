#include "model/expert_source.h"

#include <algorithm>

namespace sheaf {

ExpertSource::ExpertSource(WeightSource& source, std::string module, int64_t count, int64_t hidden,
                           int64_t intermediate, const QuantizationHints& hints)
    : source_(source),
      module_(std::move(module)),
      count_(count),
      hidden_(hidden),
      intermediate_(intermediate),
      hints_(hints) {}

bool ExpertSource::stacked() const {
    return source_.has(module_ + ".gate_up_proj");
}

std::string ExpertSource::part(int64_t e, std::string_view name) const {
    return fmt::format("{}.{}.{}", module_, e, name);
}

std::string ExpertSource::fused_part(int64_t e, std::string_view name) const {
    return fmt::format("{}.{}.{}", module_, name, e);
}

std::vector<std::string> ExpertSource::missing(int64_t e) const {
    std::vector<std::string> names;
    if (stacked()) {
        if (!source_.has(module_ + ".down_proj")) names.push_back(module_ + ".down_proj");
        return names;
    }
    auto have = [&](const std::string& module) { return find_weight_format(source_, module) != nullptr; };
    // A missing part is named as the neighbour spells it.
    const int64_t neighbour = e > 0 ? e - 1 : std::min<int64_t>(1, count_ - 1);
    const bool fused = have(fused_part(neighbour, "gate_up_proj"));
    if (!have(fused_part(e, "gate_up_proj")) && !have(part(e, "gate_up_proj"))) {
        if (fused) names.push_back(fused_part(e, "gate_up_proj"));
        for (const char* name : {"gate_proj", "up_proj"})
            if (!fused && !have(part(e, name))) names.push_back(part(e, name));
    }
    if (!have(part(e, "down_proj")) && !have(fused_part(e, "down_proj")))
        names.push_back(fused ? fused_part(e, "down_proj") : part(e, "down_proj"));
    return names;
}

HostLinear ExpertSource::load_stacked(std::string_view name, int64_t e, int64_t out, int64_t in) const {
    const std::string tensor = fmt::format("{}.{}", module_, name);
    HostTensor all = source_.take(tensor);
    const Shape expected{count_, out, in};
    if (all.view.shape() != expected)
        fail(ErrorKind::corrupt_file,
             "{} has shape {}, expected {} (experts, rows, columns) from config.json", tensor,
             all.view.shape().to_string(), expected.to_string());
    if (all.view.dtype() != DType::bf16 && all.view.dtype() != DType::f32 && all.view.dtype() != DType::f16)
        fail(ErrorKind::unsupported, "{} is {}; stacked experts are read as BF16, F16 or F32 only", tensor,
             dtype_name(all.view.dtype()));
    HostLinear linear;
    linear.out = out;
    linear.in = in;
    linear.weight = DenseWeight{{all.view.rows(e, e + 1).view(Shape{out, in}), all.owner}};
    return linear;
}

HostLinear ExpertSource::load_down(int64_t e) const {
    if (stacked()) return load_stacked("down_proj", e, hidden_, intermediate_);
    const std::string split = part(e, "down_proj");
    const std::string module = find_weight_format(source_, split) ? split : fused_part(e, "down_proj");
    return load_linear(source_, module, hidden_, intermediate_, hints_);
}

HostExpert ExpertSource::load(int64_t e) const {
    HostExpert expert;
    expert.down = load_down(e);
    std::string fused;
    if (!stacked()) {
        for (const auto& name : {fused_part(e, "gate_up_proj"), part(e, "gate_up_proj")})
            if (find_weight_format(source_, name)) fused = name;
        if (fused.empty()) {
            expert.gate = load_linear(source_, part(e, "gate_proj"), intermediate_, hidden_, hints_);
            expert.up = load_linear(source_, part(e, "up_proj"), intermediate_, hidden_, hints_);
            return expert;
        }
    }
    const HostLinear both = stacked() ? load_stacked("gate_up_proj", e, 2 * intermediate_, hidden_)
                                      : load_linear(source_, fused, 2 * intermediate_, hidden_, hints_);
    expert.gate = both.output_slice(0, intermediate_);
    expert.up = both.output_slice(intermediate_, 2 * intermediate_);
    return expert;
}

}  // namespace sheaf
