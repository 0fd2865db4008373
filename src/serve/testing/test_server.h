// TestServer: a Server over a FakeEngine with the small tokenizer and a chat template in the manner of Qwen,
// on a free port of the loopback. For the server's tests only.
#pragma once

#include <memory>
#include <string>

#include "processor/chat_template.h"
#include "processor/tokenizer.h"
#include "serve/server.h"
#include "serve/testing/fake_engine.h"
#include "serve/testing/http_client.h"

namespace sheaf::testing {

inline constexpr const char* chat_template_text = R"({%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and enable_thinking is true -%}{{ '<think>\n' }}{%- endif -%}
{%- endif -%})";

inline std::shared_ptr<const Tokenizer> small_tokenizer() {
    static const auto tokenizer =
        std::make_shared<const Tokenizer>(Tokenizer::load(SHEAF_SOURCE_DIR "/tests/golden/tokenizer/small"));
    return tokenizer;
}

class TestServer {
  public:
    explicit TestServer(ServerOptions options = {}, bool ready = true)
        : tokenizer(small_tokenizer()),
          engine(std::make_shared<FakeEngine>(
              tokenizer->vocabulary_size(), *tokenizer->token_to_id("<|im_end|>"),
              [this](const Prompt&, const SamplingParams&) { return tokenizer->encode(answer); })),
          server(fixed(std::move(options))) {
        server.start();
        if (ready) server.set_ready(model());
    }

    ServedModel model() const {
        ServedModel model;
        model.names = {"test", "owner/alias"};
        model.tokenizer = tokenizer;
        model.chat_template = std::make_shared<const ChatTemplate>(chat_template_text);
        model.engine = engine;
        return model;
    }

    HttpClient client() const { return HttpClient(server.port()); }

    std::shared_ptr<const Tokenizer> tokenizer;
    std::string answer = "Hello, world!";  // what the engine generates; set it before the request
    std::shared_ptr<FakeEngine> engine;
    Server server;

  private:
    static ServerOptions fixed(ServerOptions options) {
        options.host = "127.0.0.1";
        options.port = 0;
        options.access_log = false;
        return options;
    }
};

}  // namespace sheaf::testing
