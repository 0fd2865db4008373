#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/build_info.h"
#include "app/commands.h"
#include "app/output.h"
#include "backend/registry.h"

namespace sheaf {

int run_version(const Options& options) {
    const std::vector<std::string> devices = list_devices();
    if (options.flag("json")) {
        output::write_line({{"version", build_info::version},
                            {"commit", build_info::commit},
                            {"compiler", build_info::compiler},
                            {"build_type", build_info::build_type},
                            {"devices", devices}});
        return exit_done;
    }
    output::write(fmt::format("sheaf {} ({}, {}, {})\n", build_info::version, build_info::commit,
                              build_info::build_type, build_info::compiler));
    for (const std::string& device : devices) output::write(device + "\n");
    return exit_done;
}

}  // namespace sheaf
