#include "base/error.h"

#include <cstring>

namespace sheaf::detail {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
    const char* name = std::strstr(file, "src/");
    throw InternalError(fmt::format("internal error at {}:{}: {}{}{}", name ? name : file, line, condition,
                                    message.empty() ? "" : ": ", message));
}

}  // namespace sheaf::detail
