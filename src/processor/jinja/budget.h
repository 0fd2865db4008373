// What one rendering may cost: steps, bytes copied or built, nesting. Used by everything in processor/jinja
// that works in proportion to a template or its input; a hostile template ends in an Error, never in a stuck
// or swollen process. Must not know what is being rendered.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace sheaf::jinja {

struct Limits {
    static constexpr std::int64_t steps = 10'000'000;
    static constexpr std::size_t output_base = std::size_t{8} << 20;  // plus 4 x the input
    static constexpr std::size_t work_base = std::size_t{256}
                                             << 20;  // plus 64 x the input: bytes built or copied
    static constexpr int syntax_depth = 128;         // blocks and brackets within each other
    static constexpr int value_depth = 200;          // lists and mappings within each other
    static constexpr int input_depth = 128;          // the same, in messages, tools and kwargs
    static constexpr int call_depth = 1000;          // evaluations within evaluations, about 8 a macro call
    static constexpr std::int64_t range_items = 100'000;
    static constexpr std::size_t source_bytes = std::size_t{256} << 10;
    static constexpr std::size_t raised_bytes = 200;  // of the text that raise_exception gives
    static constexpr std::size_t quoted_bytes = 64;   // of a name that an error message quotes
};

class Budget {
  public:
    explicit Budget(std::size_t input_bytes)
        : text_limit_(Limits::output_base + 4 * input_bytes),
          work_left_(static_cast<std::int64_t>(Limits::work_base + 64 * input_bytes)) {}

    void step(std::int64_t count = 1) {
        steps_left_ -= count;
        if (steps_left_ < 0)
            fail(ErrorKind::invalid_input, "the template takes more than {} steps", Limits::steps);
    }

    /// Before building or copying `bytes` bytes as one piece of text.
    void text(std::size_t bytes) {
        if (bytes > text_limit_)
            fail(ErrorKind::invalid_input, "the template makes a text of more than {} bytes", text_limit_);
        work(bytes);
    }

    /// Before building or copying `bytes` bytes in any form.
    void work(std::size_t bytes) {
        if (bytes > static_cast<std::size_t>(work_left_))
            fail(ErrorKind::invalid_input, "the template builds more text and lists than its input allows");
        work_left_ -= static_cast<std::int64_t>(bytes);
    }

    std::size_t text_limit() const { return text_limit_; }

    void enter() {
        if (++depth_ > Limits::call_depth)
            fail(ErrorKind::invalid_input, "the template calls itself more than {} levels deep",
                 Limits::call_depth);
    }
    void leave() { --depth_; }

  private:
    std::int64_t steps_left_ = Limits::steps;
    std::size_t text_limit_;
    std::int64_t work_left_;
    int depth_ = 0;
};

/// One level of evaluation.
class Level {
  public:
    explicit Level(Budget& budget) : budget_(budget) { budget_.enter(); }
    ~Level() { budget_.leave(); }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

  private:
    Budget& budget_;
};

}  // namespace sheaf::jinja
