#include "processor/jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace sheaf::jinja::unicode {

namespace {

struct Range {
    char32_t first;
    char32_t last;
};

// Where Python's classes are more than a general category (Unicode's Other_Lowercase and so on).
constexpr Range kOtherLower[] = {
    {0xaa, 0xaa},       {0xba, 0xba},       {0x2b0, 0x2b8},     {0x2c0, 0x2c1},    {0x2e0, 0x2e4},
    {0x345, 0x345},     {0x37a, 0x37a},     {0x1d2c, 0x1d6a},   {0x1d78, 0x1d78},  {0x1d9b, 0x1dbf},
    {0x2071, 0x2071},   {0x207f, 0x207f},   {0x2090, 0x209c},   {0x2170, 0x217f},  {0x24d0, 0x24e9},
    {0x2c7c, 0x2c7d},   {0xa69c, 0xa69d},   {0xa770, 0xa770},   {0xa7f8, 0xa7f9},  {0xab5c, 0xab5f},
    {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba}};
constexpr Range kOtherUpper[] = {
    {0x2160, 0x216f}, {0x24b6, 0x24cf}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}};
constexpr Range kOtherDigit[] = {
    {0xb2, 0xb3},     {0xb9, 0xb9},       {0x1369, 0x1371},   {0x19da, 0x19da},   {0x2070, 0x2070},
    {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247c},   {0x2488, 0x2490},
    {0x24ea, 0x24ea}, {0x24f5, 0x24fd},   {0x24ff, 0x24ff},   {0x2776, 0x277e},   {0x2780, 0x2788},
    {0x278a, 0x2792}, {0x10a40, 0x10a43}, {0x10e60, 0x10e68}, {0x11052, 0x1105a}, {0x1f100, 0x1f10a}};
// Ideographs that mean a number.
constexpr char32_t kNumericIdeographs[] = {
    0x3405,  0x3483,  0x382a,  0x3b4d,  0x4e00,  0x4e03,  0x4e07,  0x4e09,  0x4e5d,  0x4e8c,  0x4e94,
    0x4e96,  0x4ebf,  0x4ec0,  0x4edf,  0x4ee8,  0x4f0d,  0x4f70,  0x5104,  0x5146,  0x5169,  0x516b,
    0x516d,  0x5341,  0x5343,  0x5344,  0x5345,  0x534c,  0x53c1,  0x53c2,  0x53c3,  0x53c4,  0x56db,
    0x58f1,  0x58f9,  0x5e7a,  0x5efe,  0x5eff,  0x5f0c,  0x5f0d,  0x5f0e,  0x5f10,  0x62fe,  0x634c,
    0x67d2,  0x6f06,  0x7396,  0x767e,  0x8086,  0x842c,  0x8cae,  0x8cb3,  0x8d30,  0x9621,  0x9646,
    0x964c,  0x9678,  0x96f6,  0xf96b,  0xf973,  0xf978,  0xf9b2,  0xf9d1,  0xf9d3,  0xf9fd,  0x20001,
    0x20064, 0x200e2, 0x20121, 0x2092a, 0x20983, 0x2098c, 0x2099c, 0x20aea, 0x20afd, 0x20b19, 0x22390,
    0x22998, 0x23b1b, 0x2626d, 0x2f890};

template <std::size_t N>
bool in_ranges(const Range (&ranges)[N], char32_t c) {
    const auto* after =
        std::upper_bound(std::begin(ranges), std::end(ranges), c,
                         [](char32_t value, const Range& range) { return value < range.first; });
    return after != std::begin(ranges) && c <= std::prev(after)->last;
}

utf8proc_category_t category(char32_t c) {
    return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_cased(char32_t c) {
    return is_lower(c) || is_upper(c) || is_title(c);
}

bool is_case_ignorable(char32_t c) {
    switch (c) {
        case 0x27:
        case 0x2e:
        case 0x3a:
        case 0xb7:
        case 0x387:
        case 0x55f:
        case 0x5f4:
        case 0x2018:
        case 0x2019:
        case 0x2024:
        case 0x2027:
        case 0xfe13:
        case 0xfe52:
        case 0xfe55:
        case 0xff07:
        case 0xff0e:
        case 0xff1a:
            return true;
        default:
            break;
    }
    switch (category(c)) {
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_SK:
            return true;
        default:
            return false;
    }
}

/// Whether the capital sigma at [at, at + 2) ends a word, where its small form is the final one.
bool is_final_sigma(std::string_view text, std::size_t at) {
    bool cased_before = false;
    for (std::size_t end = at; end > 0;) {
        const CodePoint c = decode_before(text, end);
        end -= c.size;
        if (!is_case_ignorable(c.value)) {
            cased_before = is_cased(c.value);
            break;
        }
    }
    if (!cased_before) return false;
    for (std::size_t next = at + 2; next < text.size();) {
        const CodePoint c = decode(text, next);
        next += c.size;
        if (!is_case_ignorable(c.value)) return !is_cased(c.value);
    }
    return true;
}

void append_lower(std::string& out, std::string_view text, std::size_t at, char32_t c) {
    if (c < 0x80) {
        out.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
    } else if (c == 0x3a3) {
        append(out, is_final_sigma(text, at) ? 0x3c2 : 0x3c3);
    } else if (c == 0x130) {
        out += "i\xcc\x87";
    } else {
        append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
}

void append_upper(std::string& out, char32_t c) {
    if (c < 0x80) {
        out.push_back(static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c));
    } else if (const std::string_view special = special_upper(c); !special.empty()) {
        out += special;
    } else {
        append(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
    }
}

void append_title(std::string& out, char32_t c) {
    if (const std::string_view special = special_title(c); !special.empty()) {
        out += special;
    } else {
        append(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
    }
}

}  // namespace

CodePoint decode(std::string_view text, std::size_t at) {
    const auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 0x80) return {lead, 1};
    utf8proc_int32_t value = -1;
    const auto size =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                         static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size() - at, 4)), &value);
    if (size <= 0 || value < 0) return {0xfffd, 1};
    return {static_cast<char32_t>(value), static_cast<std::size_t>(size)};
}

CodePoint decode_before(std::string_view text, std::size_t end) {
    for (std::size_t size = 1; size <= 4 && size <= end; ++size) {
        const auto lead = static_cast<unsigned char>(text[end - size]);
        if ((lead & 0xc0) == 0x80) continue;
        const CodePoint found = decode(text, end - size);
        if (found.size == size) return found;
        break;
    }
    return {0xfffd, 1};
}

void append(std::string& out, char32_t c) {
    if (c < 0x80) {
        out.push_back(static_cast<char>(c));
        return;
    }
    std::array<utf8proc_uint8_t, 4> bytes{};
    const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes.data());
    out.append(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::size_t>(std::max<utf8proc_ssize_t>(size, 0)));
}

bool is_ascii(std::string_view text) {
    return std::none_of(text.begin(), text.end(),
                        [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

std::size_t length(std::string_view text) {
    std::size_t count = 0;
    for (std::size_t at = 0; at < text.size(); at += decode(text, at).size) ++count;
    return count;
}

std::size_t offset_of(std::string_view text, std::size_t index) {
    std::size_t at = 0;
    for (; index > 0 && at < text.size(); --index) at += decode(text, at).size;
    return at;
}

bool is_space(char32_t c) {
    if (c < 0x80) return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_alpha(char32_t c) {
    const auto kind = category(c);
    return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) {
    return category(c) == UTF8PROC_CATEGORY_ND;
}
bool is_digit(char32_t c) {
    return is_decimal(c) || in_ranges(kOtherDigit, c);
}

bool is_numeric(char32_t c) {
    const auto kind = category(c);
    if (kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO)
        return true;
    return std::binary_search(std::begin(kNumericIdeographs), std::end(kNumericIdeographs), c);
}

bool is_alnum(char32_t c) {
    return is_alpha(c) || is_numeric(c);
}
bool is_lower(char32_t c) {
    return category(c) == UTF8PROC_CATEGORY_LL || in_ranges(kOtherLower, c);
}
bool is_upper(char32_t c) {
    return category(c) == UTF8PROC_CATEGORY_LU || in_ranges(kOtherUpper, c);
}
bool is_title(char32_t c) {
    return category(c) == UTF8PROC_CATEGORY_LT;
}

bool is_printable(char32_t c) {
    if (c < 0x7f) return c >= 0x20;
    switch (category(c)) {
        case UTF8PROC_CATEGORY_CN:
        case UTF8PROC_CATEGORY_CC:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_CS:
        case UTF8PROC_CATEGORY_CO:
        case UTF8PROC_CATEGORY_ZL:
        case UTF8PROC_CATEGORY_ZP:
        case UTF8PROC_CATEGORY_ZS:
            return false;
        default:
            return true;
    }
}

bool is_identifier_start(char32_t c) {
    return c == '_' || is_alpha(c) || category(c) == UTF8PROC_CATEGORY_NL || c == 0x1885 || c == 0x1886 ||
           c == 0x2118 || c == 0x212e;
}

bool is_identifier_part(char32_t c) {
    if (is_identifier_start(c) || is_decimal(c)) return true;
    const auto kind = category(c);
    return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_MC || kind == UTF8PROC_CATEGORY_PC ||
           c == 0xb7 || c == 0x387;
}

int decimal_value(char32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9' ? static_cast<int>(c - '0') : -1;
    if (!is_decimal(c)) return -1;
    // Decimal digits stand in runs of ten (or several tens); the run's start is a zero.
    char32_t start = c;
    while (start > 0 && is_decimal(start - 1)) --start;
    return static_cast<int>((c - start) % 10);
}

std::string to_upper(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = decode(text, at);
        append_upper(out, c.value);
        at += c.size;
    }
    return out;
}

std::string to_lower(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = decode(text, at);
        append_lower(out, text, at, c.value);
        at += c.size;
    }
    return out;
}

std::string to_title(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    bool in_word = false;
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = decode(text, at);
        if (in_word) {
            append_lower(out, text, at, c.value);
        } else {
            append_title(out, c.value);
        }
        in_word = is_cased(c.value);
        at += c.size;
    }
    return out;
}

std::string capitalize(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = decode(text, at);
        if (at == 0) {
            append_title(out, c.value);
        } else {
            append_lower(out, text, at, c.value);
        }
        at += c.size;
    }
    return out;
}

std::string swap_case(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = decode(text, at);
        if (is_upper(c.value)) {
            append_lower(out, text, at, c.value);
        } else if (is_lower(c.value)) {
            append_upper(out, c.value);
        } else {
            append(out, c.value);
        }
        at += c.size;
    }
    return out;
}

std::string fold_case(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = decode(text, at);
        std::array<utf8proc_int32_t, 8> folded{};
        int last_class = 0;
        const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.value), folded.data(),
                                                   folded.size(), UTF8PROC_CASEFOLD, &last_class);
        for (utf8proc_ssize_t i = 0; i < count && i < static_cast<utf8proc_ssize_t>(folded.size()); ++i)
            append(out, static_cast<char32_t>(folded[static_cast<std::size_t>(i)]));
        at += c.size;
    }
    return out;
}

std::string_view strip_left(std::string_view text) {
    std::size_t at = 0;
    while (at < text.size()) {
        const CodePoint c = decode(text, at);
        if (!is_space(c.value)) break;
        at += c.size;
    }
    return text.substr(at);
}

std::string_view strip_right(std::string_view text) {
    std::size_t end = text.size();
    while (end > 0) {
        const CodePoint c = decode_before(text, end);
        if (!is_space(c.value)) break;
        end -= c.size;
    }
    return text.substr(0, end);
}

std::string_view cut(std::string_view text, std::size_t bytes) {
    if (text.size() <= bytes) return text;
    while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
    return text.substr(0, bytes);
}

}  // namespace sheaf::jinja::unicode
