// WeightVisitor: the model names each of its weights once, in for_each_weight(); loading, counting, random
// initialisation and (later) packing are visitors. Names are the checkpoint's, without ".weight" for linear
// layers. Must not know files or machines.
#pragma once

#include <span>
#include <string>

#include "ops/machine.h"

namespace sheaf {

class WeightVisitor {
  public:
    virtual ~WeightVisitor() = default;

    /// A matrix (out, in) that multiplies activations; module "X" is stored as X.weight, X.qweight, ...
    virtual void linear(const std::string& module, Linear& slot, int64_t out, int64_t in) = 0;
    /// These linear layers, just visited, read the same rows.
    virtual void together(std::span<Linear* const> /*slots*/) {}
    /// All tokens of these experts, just visited, go to the shared one too.
    virtual void beside(const Experts& /*routed*/, Experts& /*shared*/) {}
    /// A small parameter kept in f32: norms, convolution taps, decay. `stored` is the checkpoint's shape.
    virtual void vector(const std::string& name, Tensor& slot, Shape shape, Shape stored) = 0;
    /// A table whose rows are looked up: (rows, columns), 16 or 32 bit.
    virtual void table(const std::string& name, Tensor& slot, int64_t rows, int64_t columns) = 0;
    /// The routed experts of a layer, below module "....mlp.experts".
    virtual void experts(const std::string& module, Experts& slot, int64_t count, int64_t hidden,
                         int64_t intermediate) = 0;
    /// A gated MLP kept as an expert, stored as module.gate_proj, .up_proj and .down_proj.
    virtual void expert(const std::string& module, Experts& slot, int64_t hidden, int64_t intermediate) = 0;
    /// A head that shares the embedding's table.
    virtual void tied_linear(const std::string& table_name, Linear& slot, int64_t out, int64_t in) = 0;

    void together(std::initializer_list<Linear*> slots) { together(std::span(slots.begin(), slots.size())); }
    void vector(const std::string& name, Tensor& slot, int64_t size) {
        vector(name, slot, Shape{size}, Shape{size});
    }
};

}  // namespace sheaf
