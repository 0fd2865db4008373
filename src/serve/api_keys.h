// ApiKeys: who may use the server. Keys are kept and compared as SHA-256 digests, in a time that depends on
// neither the key nor how much of it is right. Must not know routes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http_types.h"

namespace sheaf {

class ApiKeys {
  public:
    /// No keys: everybody may.
    explicit ApiKeys(const std::vector<std::string>& keys);

    bool required() const { return !digests_.empty(); }
    /// Looks at `Authorization: Bearer KEY` and `X-Api-Key: KEY`.
    bool allow(const HttpRequest& request) const;

  private:
    using Digest = std::array<unsigned char, 32>;
    static Digest digest(std::string_view key);
    bool known(std::string_view key) const;

    std::vector<Digest> digests_;
};

}  // namespace sheaf
