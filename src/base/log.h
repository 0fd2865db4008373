// Logging to standard error, in one line per event. Used everywhere above base; results of commands never go
// here. Must not know: options (the app sets the level once).
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace sheaf::log {

/// Sends everything to standard error at `level` (trace, debug, info, warning, error). Throws Error on
/// another name.
void initialize(const std::string& level);

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

}  // namespace sheaf::log
