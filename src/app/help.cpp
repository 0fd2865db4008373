#include <fmt/format.h>

#include "app/commands.h"
#include "app/output.h"

namespace sheaf {

int run_help(const Options& options) {
    if (options.flag("markdown")) {
        output::write(markdown_help());
    } else if (options.operands().empty()) {
        output::write(general_help());
    } else {
        const CommandSpec* command = find_command(options.operands()[0]);
        if (!command)
            throw UsageError(fmt::format("unknown command {}; see sheaf --help", options.operands()[0]));
        output::write(command_help(*command));
    }
    return exit_done;
}

}  // namespace sheaf
