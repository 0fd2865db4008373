#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/build_info.h"
#include "app/commands.h"
#include "app/output.h"

namespace sheaf {

int run_version(const Options& options) {
    nlohmann::ordered_json info;
    info["version"] = build_info::version;
    info["commit"] = build_info::commit;
    info["compiler"] = build_info::compiler;
    info["build_type"] = build_info::build_type;
    if (options.flag("json")) {
        output::write_line(info);
        return exit_done;
    }
    output::write(fmt::format("sheaf {} ({}, {}, {})\n", build_info::version, build_info::commit,
                              build_info::build_type, build_info::compiler));
    return exit_done;
}

}  // namespace sheaf
