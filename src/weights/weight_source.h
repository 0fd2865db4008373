// Where weights come from, by tensor name: a checkpoint folder, a random generator, or one laid over another
// (repair, quantization). Read by the weight formats and the loader. Must not know the model.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tensor/host_tensor.h"

namespace sheaf {

class WeightSource {
  public:
    virtual ~WeightSource() = default;

    struct Info {
        DType dtype;
        Shape shape;
    };

    /// Dtype and shape of a tensor, null when there is none. The pointer stays valid as long as the source.
    virtual const Info* find(std::string_view name) const = 0;
    bool has(std::string_view name) const { return find(name) != nullptr; }

    /// The numbers, valid as long as the result is held; a checkpoint's are a view of the map. Marks the
    /// tensor as used. Safe to call from several threads. Errors: not_found.
    virtual HostTensor take(std::string_view name) = 0;

    /// Marks a tensor as known and not needed (an unused head, an identity g_idx). Nothing happens when there
    /// is none.
    virtual void skip(std::string_view name) = 0;

    /// All names, sorted; and those neither taken nor skipped.
    virtual std::vector<std::string> names() const = 0;
    virtual std::vector<std::string> unused() const = 0;

    /// "shard.safetensors" or another word for messages.
    virtual std::string where(std::string_view name) const = 0;
};

}  // namespace sheaf
