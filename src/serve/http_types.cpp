#include "serve/http_types.h"

#include <algorithm>

namespace sheaf {

namespace {

bool same_name(std::string_view a, std::string_view b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return std::ranges::equal(a, b, {}, lower, lower);
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
    for (const auto& [key, value] : headers)
        if (same_name(key, name)) return value;
    return {};
}

const char* status_text(int status) {
    switch (status) {
        case 200:
            return "OK";
        case 204:
            return "No Content";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 415:
            return "Unsupported Media Type";
        case 417:
            return "Expectation Failed";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 503:
            return "Service Unavailable";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "Unknown";
    }
}

void Exchange::wake() {
    if (wake_) wake_();
}

void Exchange::reply(HttpResponse response) {
    std::lock_guard lock(mutex_);
    if (closed_ || output_.begun) return;
    output_.begun = output_.ended = true;
    output_.response = std::move(response);
    wake();
}

void Exchange::begin_stream(HttpResponse head, std::string ping) {
    std::lock_guard lock(mutex_);
    if (closed_ || output_.begun) return;
    output_.begun = output_.streaming = true;
    output_.response = std::move(head);
    output_.ping = std::move(ping);
    wake();
}

void Exchange::write(std::string_view data) {
    std::lock_guard lock(mutex_);
    if (closed_ || output_.ended || !output_.streaming) return;
    output_.data += data;
    wake();
}

void Exchange::end() {
    std::lock_guard lock(mutex_);
    if (closed_ || output_.ended || !output_.streaming) return;
    output_.ended = true;
    wake();
}

bool Exchange::writable(size_t limit) const {
    std::lock_guard lock(mutex_);
    return !closed_ && output_.data.size() + unsent_ <= limit;
}

void Exchange::on_progress(std::function<void()> callback) {
    std::lock_guard lock(mutex_);
    progress_ = std::move(callback);
}

void Exchange::on_output(std::function<void()> wake) {
    std::lock_guard lock(mutex_);
    wake_ = std::move(wake);
}

Exchange::Output Exchange::take_output() {
    std::lock_guard lock(mutex_);
    Output taken;
    taken.begun = output_.begun;
    taken.streaming = output_.streaming;
    taken.ended = output_.ended;
    taken.response = std::exchange(output_.response, {});
    taken.ping = output_.ping;
    taken.data = std::exchange(output_.data, {});
    unsent_ += taken.data.size();
    return taken;
}

void Exchange::sent(size_t unsent_bytes) {
    std::function<void()> progress;
    {
        std::lock_guard lock(mutex_);
        unsent_ = unsent_bytes;
        progress = progress_;
    }
    if (progress) progress();
}

void Exchange::close() {
    std::function<void()> progress;
    {
        std::lock_guard lock(mutex_);
        closed_ = true;
        wake_ = nullptr;
        progress = std::exchange(progress_, nullptr);
    }
    if (progress) progress();
    guard_.reset();
}

}  // namespace sheaf
