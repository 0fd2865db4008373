// Results on standard output: text, JSON lines and tables, with every write checked. Used by the commands.
// Must not know what is printed; logs and errors never come here.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sheaf::output {

/// Errors: io (a full disk); a closed pipe ends the process as usual.
void write(std::string_view text);
/// The same, and sees to it that it can be read now.
void write_now(std::string_view text);
/// One JSON value in one line. Bytes that are not UTF-8 become U+FFFD.
void write_line(const nlohmann::ordered_json& value);
/// Flushes; a command that printed anything is done only after it.
void finish();

/// Rows of cells under a heading, columns aligned; figures ("12,345", "3.5 GiB") to the right.
std::string table(const std::vector<std::vector<std::string>>& rows);
/// Names and what is to be said of each, in two columns.
std::string pairs(const std::vector<std::pair<std::string, std::string>>& rows);
/// "131.2 GiB"
std::string bytes_text(double bytes);
/// "12,345,678"
std::string count_text(int64_t count);

}  // namespace sheaf::output
