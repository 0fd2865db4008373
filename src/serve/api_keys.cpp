#include "serve/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/error.h"

namespace sheaf {

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
    for (const std::string& key : keys) {
        if (key.empty()) fail(ErrorKind::invalid_input, "an API key must not be empty");
        digests_.push_back(digest(key));
    }
}

ApiKeys::Digest ApiKeys::digest(std::string_view key) {
    Digest result{};
    SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), result.data());
    return result;
}

// Every key is compared with, whatever the others said.
bool ApiKeys::known(std::string_view key) const {
    const Digest given = digest(key);
    int matches = 0;
    for (const Digest& digest : digests_)
        matches |= CRYPTO_memcmp(digest.data(), given.data(), given.size()) == 0 ? 1 : 0;
    return matches != 0;
}

bool ApiKeys::allow(const HttpRequest& request) const {
    if (!required()) return true;
    std::string_view bearer = request.header("Authorization");
    const std::string_view scheme = bearer.substr(0, 7);
    const bool is_bearer = scheme.size() == 7 && scheme[6] == ' ' && (scheme[0] == 'B' || scheme[0] == 'b') &&
                           scheme.substr(1, 5) == "earer";
    if (is_bearer && known(bearer.substr(7))) return true;
    const std::string_view plain = request.header("X-Api-Key");
    return !plain.empty() && known(plain);
}

}  // namespace sheaf
