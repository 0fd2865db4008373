#include "serve/generation_service.h"

#include <algorithm>
#include <random>

#include "base/log.h"
#include "processor/tokenizer.h"
#include "serve/generation_job.h"
#include "serve/request_error.h"

namespace sheaf {

namespace {

ReaderContext make_context(const ServedModel& model) {
    SHEAF_CHECK(!model.names.empty() && model.tokenizer && model.engine, "an incomplete served model");
    return {model.defaults, model.limits, model.engine->vocabulary_size()};
}

uint64_t random_seed() {
    std::random_device device;
    return (uint64_t{device()} << 32) | device();
}

int preparation_threads() {
    return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 4, 2, 8);
}

}  // namespace

Failure describe_failure(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (const RequestError& refused) {
        const bool missing = refused.kind() == ErrorKind::not_found;
        return {missing ? Failure::Kind::not_found : Failure::Kind::bad_request, refused.what(),
                refused.param()};
    } catch (const Error& refused) {
        if (refused.kind() == ErrorKind::invalid_input || refused.kind() == ErrorKind::unsupported)
            return {Failure::Kind::bad_request, refused.what(), {}};
        log::error("a request failed: {}", refused.what());
    } catch (const std::exception& unexpected) {
        log::error("a request failed: {}", unexpected.what());
    }
    return {Failure::Kind::internal, "internal error; the server's log has the details", {}};
}

Generation::~Generation() {
    if (job_) job_->close();
}

void Generation::resume() {
    job_->resume();
}

void Generation::abort(const Failure& failure) {
    job_->abort(failure);
}

GenerationService::GenerationService(std::shared_ptr<const ServedModel> model, GenerationMonitor* monitor)
    : model_(std::move(model)),
      monitor_(monitor),
      context_(make_context(*model_)),
      prompts_(model_),
      end_of_thinking_(model_->tokenizer->token_to_id("</think>")),
      seeds_(random_seed()),
      preparation_("request preparation", preparation_threads()),
      delivery_("answer delivery", 2) {}

GenerationService::~GenerationService() = default;

std::unique_ptr<Generation> GenerationService::start(RequestMaker make,
                                                     std::shared_ptr<GenerationSink> sink) {
    auto job = std::make_shared<GenerationJob>(*this, std::move(sink));
    preparation_.post([job, make = std::move(make)] { job->prepare(make); });
    return std::make_unique<Generation>(std::move(job));
}

void GenerationService::check_model_name(const std::string& name) const {
    if (name.empty() || model_->accept_any_name ||
        std::ranges::find(model_->names, name) != model_->names.end())
        return;
    throw RequestError(ErrorKind::not_found, "model",
                       fmt::format("The model `{}` does not exist.", name.substr(0, 64)));
}

}  // namespace sheaf
