// How fast the tokenizer is: encoding and decoding a file, and texts made to be slow, on one core.
//
// Usage: tokenizer_bench FOLDER [TEXT_FILE...]
// FOLDER holds tokenizer.json. Prints the best of several rounds in MB/s (10^6 bytes a second) and, for the
// hostile texts of 1 and 4 MiB, how the time grows (4 is linear). Without files only the hostile texts are
// run.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "processor/tokenizer.h"
#include "processor/unicode.h"

namespace {

/// Time this thread has run, so that a busy machine does not slow the figures.
double thread_seconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

template <class Work>
double best_seconds(int rounds, const Work& work) {
    double best = 1e30;
    for (int i = 0; i < rounds; ++i) {
        double begin = thread_seconds();
        work();
        best = std::min(best, thread_seconds() - begin);
    }
    return best;
}

std::string repeat(std::string_view part, size_t bytes) {
    std::string text;
    while (text.size() + part.size() <= bytes) text += part;
    return text;
}

void file(const sheaf::Tokenizer& tokenizer, const char* path) {
    std::ifstream stream(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    if (text.empty()) sheaf::fail(sheaf::ErrorKind::not_found, "{} cannot be read or is empty", path);
    if (sheaf::unicode::find_invalid(text))
        sheaf::fail(sheaf::ErrorKind::invalid_input, "{} is not UTF-8", path);
    std::vector<int32_t> ids;
    double encode = best_seconds(5, [&] { ids = tokenizer.encode(text); });
    double decode = best_seconds(5, [&] { tokenizer.decode(ids); });
    fmt::print("{:<40} {:7.2f} MB {:9} tokens  encode {:7.1f} MB/s  decode {:7.1f} MB/s\n", path,
               text.size() / 1e6, ids.size(), text.size() / encode / 1e6, text.size() / decode / 1e6);
}

void hostile(const sheaf::Tokenizer& tokenizer, const char* name, std::string_view part) {
    double seconds[2];
    for (int i = 0; i < 2; ++i) {
        std::string text = repeat(part, i == 0 ? 1 << 20 : 4 << 20);
        seconds[i] = best_seconds(2, [&] { tokenizer.encode(text); });
    }
    fmt::print("{:<40} 1 MiB {:7.1f} ms, 4 MiB {:7.1f} ms, x {:.1f}, {:6.1f} MB/s\n", name, seconds[0] * 1e3,
               seconds[1] * 1e3, seconds[1] / seconds[0], (4 << 20) / seconds[1] / 1e6);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        fmt::print("usage: tokenizer_bench FOLDER [TEXT_FILE...]\n");
        return 2;
    }
    try {
        double load = best_seconds(3, [&] { sheaf::Tokenizer::load(argv[1]); });
        fmt::print("load {:.2f} s\n", load);
        sheaf::Tokenizer tokenizer = sheaf::Tokenizer::load(argv[1]);
        for (int i = 2; i < argc; ++i) file(tokenizer, argv[i]);
        hostile(tokenizer, "one letter", "a");
        hostile(tokenizer, "letters of one word", "internationalization");
        hostile(tokenizer, "spaces", " ");
        hostile(tokenizer, "line ends", "\n");
        hostile(tokenizer, "spaces and line ends", " \n");
        hostile(tokenizer, "one combining mark", "\u0301");
        hostile(tokenizer, "combining marks out of order", "\u0301\u0323\u0315");
        hostile(tokenizer, "a letter and marks", "e\u0323\u0301");
        hostile(tokenizer, "Hangul letters", "\u1100\u1161\u11a8");
        hostile(tokenizer, "punctuation", "!");
        hostile(tokenizer, "digits", "7");
        hostile(tokenizer, "apostrophes", "'");
        hostile(tokenizer, "begins of added tokens", "<|im_star");
        hostile(tokenizer, "added tokens", "<|im_start|>");
        hostile(tokenizer, "a word never seen", "xqzjkvwpyfbgm");
        hostile(tokenizer, "Chinese", "\u4eba\u4eba\u751f\u800c\u81ea\u7531");
        return 0;
    } catch (const std::exception& e) {
        fmt::print("{}\n", e.what());
        return 1;
    }
}
