// Timed steps of a model without an engine: decode of some sequences at a given context, and prefill of
// prompts; with the bytes and operations that a step cannot do without, for the share of the peak. Used by
// `sheaf bench`. Must not know options or how rows are printed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace sheaf {

class Machine;
class Model;

struct StepTime {
    double seconds = 0;     // median
    double bytes = 0;       // weights (experts: as many as uniform routing touches), states, pages
    double operations = 0;  // multiplications and additions
    int64_t tokens = 0;     // that a step yields or reads
    double experts = 0;  // decode: distinct experts that a step really touched, mean of the layers; 0: none
};

class StepBench {
  public:
    /// `routing`: "natural" (the model's own router), "uniform" or "zipf".
    StepBench(std::shared_ptr<Model> model, Machine& machine, int repeat, std::string routing);

    /// `batch` sequences, each with `context` tokens before, get one token each.
    StepTime decode(int64_t batch, int64_t context);
    /// `prompts` prompts of `tokens` tokens each from an empty state, side by side, in steps of at most 2,048
    /// (8,192 on a GPU) tokens.
    StepTime prefill(int64_t prompts, int64_t tokens);

  private:
    std::shared_ptr<Model> model_;
    Machine& machine_;
    int repeat_;
    std::string routing_;
};

}  // namespace sheaf
