// The text half of a model: tokenizer, chat template, sampling defaults and names, as the options want them;
// what requests need besides an engine. Used by serve, generate, chat, prompt, score and compare. Must not
// know weights or machines.
#pragma once

#include <memory>

#include "app/options.h"

namespace sheaf {

struct ServedModel;

/// Everything of a ServedModel but the engine, from MODEL's folder. Options that the command does not have
/// count as not given. Errors: not_found (no such model, no tokenizer), corrupt_file.
std::shared_ptr<ServedModel> load_text_side(const Options& options);

}  // namespace sheaf
