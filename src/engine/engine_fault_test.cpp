// A machine that breaks in the middle of a step: every request ends with an error, later ones are refused,
// and whoever runs the engine hears of it.
#include <gtest/gtest.h>

#include <future>

#include "engine/engine.h"
#include "model/model.h"
#include "ops/testing/null_machine.h"

namespace sheaf {
namespace {

/// Can do nothing: the first operator of a step fails.
class BrokenOps final : public Ops {
  public:
    DType activation_dtype() const override { return DType::f32; }
    Tensor make(DType dtype, Shape shape) override { return arena_.make(dtype, shape); }
    void begin_step() override { arena_.reset(); }
    void begin_layer(int) override {}
    void download(const Tensor&, void*) override { lost(); }
    Tensor upload(const void*, DType dtype, Shape shape) override { return make(dtype, shape); }
    Tensor cast(const Tensor&, DType) override { lost(); }
    Tensor unary(Unary, const Tensor&) override { lost(); }
    Tensor binary(Binary, const Tensor&, const Tensor&) override { lost(); }
    Tensor scale(const Tensor&, float) override { lost(); }
    Tensor matmul(const Tensor&, const Tensor&) override { lost(); }
    Tensor transpose(const Tensor&) override { lost(); }
    Tensor sum_columns(const Tensor&) override { lost(); }
    Tensor rsqrt(const Tensor&, float) override { lost(); }
    Tensor softmax(const Tensor&, const Tensor&) override { lost(); }
    Routing top_k(const Tensor&, int64_t) override { lost(); }
    Tensor gather_rows(const Tensor&, const Tensor&) override { lost(); }
    void scatter_rows(const Tensor&, const Tensor&, const Tensor&) override { lost(); }
    Tensor concat_columns(std::span<const Tensor>) override { lost(); }
    Tensor linear(const Tensor&, const Linear&) override { lost(); }
    Tensor linear_f32(const Tensor&, const Linear&) override { lost(); }
    Tensor expert(const Tensor&, const Experts&, int64_t) override { lost(); }
    std::pair<Tensor, Tensor> rotary_angles(const Tensor&, const Rotary&) override { lost(); }

  private:
    [[noreturn]] static void lost() { fail(ErrorKind::io, "the device fell off the bus"); }
    Arena arena_;
};

class BrokenMachine final : public Machine {
  public:
    explicit BrokenMachine(std::string fault) : fault_(std::move(fault)) {}
    std::string name() const override { return "broken"; }
    ComputeType compute_type() const override { return ComputeType::f32; }
    size_t total_memory() const override { return memory_.total_memory(); }
    size_t available_memory() const override { return memory_.available_memory(); }
    std::string fault() const override { return fault_; }
    Buffer allocate(size_t bytes) override { return memory_.allocate(bytes); }
    Buffer upload(const Tensor& host, DType dtype) override { return memory_.upload(host, dtype); }
    void download(const Tensor& source, void* host) override { memory_.download(source, host); }
    Linear prepare(const HostLinear& weight) override { return memory_.prepare(weight); }
    Experts prepare_experts(int64_t count, int64_t hidden, int64_t intermediate,
                            const std::function<HostExpert(int64_t)>& load) override {
        return memory_.prepare_experts(count, hidden, intermediate, load);
    }
    std::unique_ptr<Ops> make_ops() override { return std::make_unique<BrokenOps>(); }

  private:
    NullMachine memory_;
    std::string fault_;
};

struct Outcome {
    std::unique_ptr<Engine> engine;
    RequestUpdate update;
    std::string heard;
};

Outcome run_on(const std::string& fault, bool async) {
    auto model = std::make_shared<Model>();
    model->config.text.vocab_size = 16;
    model->config.text.max_position_embeddings = 256;
    auto heard = std::make_shared<std::promise<std::string>>();
    EngineOptions options;
    options.max_num_seqs = 2;
    options.async_scheduling = async;
    options.on_fault = [heard](const std::string& what) { heard->set_value(what); };
    Outcome outcome;
    outcome.engine = Engine::create(model, std::make_shared<BrokenMachine>(fault), options);
    std::promise<RequestUpdate> answered;
    Prompt prompt;
    prompt.token_ids = {1, 2, 3};
    SamplingParams params;
    params.max_tokens = 4;
    const auto request = outcome.engine->submit(
        prompt, params, [&](RequestUpdate update) { answered.set_value(std::move(update)); });
    outcome.update = answered.get_future().get();
    if (!fault.empty()) outcome.heard = heard->get_future().get();
    return outcome;
}

/// With the host in step with the machine, and one step behind.
struct EngineFault : testing::TestWithParam<bool> {};

TEST_P(EngineFault, BrokenMachineEndsEverything) {
    const Outcome outcome = run_on("device lost", GetParam());
    EXPECT_EQ(outcome.update.finish, FinishReason::error);
    EXPECT_EQ(outcome.update.error, "device lost");
    EXPECT_EQ(outcome.heard, "device lost");
    EXPECT_EQ(outcome.engine->stats().fault, "device lost");
    Prompt prompt;
    prompt.token_ids = {1};
    SamplingParams params;
    params.max_tokens = 1;
    EXPECT_THROW(outcome.engine->submit(prompt, params, [](const RequestUpdate&) {}), Error);
}

TEST_P(EngineFault, FailedStepOfAWholeMachineEndsItsRequestAlone) {
    const Outcome outcome = run_on("", GetParam());
    EXPECT_EQ(outcome.update.finish, FinishReason::error);
    EXPECT_NE(outcome.update.error.find("fell off the bus"), std::string::npos);
    EXPECT_TRUE(outcome.engine->stats().fault.empty());
    Prompt prompt;
    prompt.token_ids = {1};
    SamplingParams params;
    params.max_tokens = 0;
    EXPECT_NE(outcome.engine->submit(prompt, params, [](const RequestUpdate&) {}), nullptr);
}

INSTANTIATE_TEST_SUITE_P(Scheduling, EngineFault, testing::Values(false, true));

}  // namespace
}  // namespace sheaf
