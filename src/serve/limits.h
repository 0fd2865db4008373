// The limits that keep one client from costing the others anything: sizes, counts and waiting times of
// requests. One place, so that readers, server and tests agree. Must not know how any of them is enforced.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sheaf {

/// What a request's JSON may hold.
struct RequestLimits {
    size_t json_depth = 64;
    size_t json_nodes = 1'000'000;
    size_t messages = 4096;
    size_t tools = 128;
    size_t prompts = 128;  // of one completion request
    size_t stop_strings = 16;
    size_t stop_string_bytes = 1024;
    size_t token_lists = 300;  // logit_bias and stop_token_ids
    size_t choices = 1024;     // prompts x n
    int32_t n = 128;
    int32_t logprobs = 20;
    int32_t prompt_logprobs = 5;
};

/// What a connection may do.
struct HttpLimits {
    size_t request_line_bytes = 8 << 10;
    size_t header_bytes = 32 << 10;  // request line included
    size_t header_fields = 100;
    size_t chunk_extension_bytes = 256;
    size_t body_bytes = 8u << 20;  // there are no media in this build
    size_t connections = 4096;
    size_t stream_bytes = 1u << 20;  // waiting for a client to read them
    std::chrono::milliseconds idle{75'000};
    std::chrono::milliseconds header{10'000};
    std::chrono::milliseconds body_grace{10'000};  // afterwards at least body_rate
    size_t body_rate = 1024;                       // bytes per second
    std::chrono::milliseconds write_progress{30'000};
    std::chrono::milliseconds ping{15'000};  // an event stream says something at least this often
    std::chrono::milliseconds linger{2'000};
};

}  // namespace sheaf
