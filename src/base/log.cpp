#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include "base/error.h"

namespace sheaf::log {

void initialize(const std::string& level) {
    const auto parsed = spdlog::level::from_str(level);
    if (parsed == spdlog::level::off && level != "off")
        fail(ErrorKind::invalid_input, "--log-level '{}': use trace, debug, info, warning, error or off",
             level);
    auto logger = spdlog::get("sheaf");
    if (!logger) logger = spdlog::stderr_color_mt("sheaf");
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
    logger->set_level(parsed);
    spdlog::set_default_logger(logger);
}

}  // namespace sheaf::log
