#include "base/file.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstring>
#include <vector>

#include "base/error.h"

namespace sheaf {
namespace {

class MappedFileTest : public ::testing::Test {
  protected:
    void SetUp() override {
        path_ = std::filesystem::temp_directory_path() / fmt::format("sheaf-file-test-{}", ::getpid());
        for (size_t i = 0; i < text_.size(); ++i) text_[i] = static_cast<char>('a' + i % 23);
        AtomicFile file(path_);
        file.write(text_);
        file.commit();
    }
    void TearDown() override { std::filesystem::remove(path_); }

    std::filesystem::path path_;
    std::string text_ = std::string(100'000, ' ');
};

TEST_F(MappedFileTest, ReadsWhatTheMapShows) {
    const MappedFile first(path_);
    MappedFile second(path_);
    const MappedFile moved(std::move(second));
    for (const MappedFile* file : {&first, &moved})
        for (const auto& [begin, size] : {std::pair<size_t, size_t>{0, 100'000}, {1, 5'000}, {99'999, 1}}) {
            std::vector<char> bytes(size);
            ASSERT_TRUE(read_mapped(file->bytes().data() + begin, bytes.data(), size));
            EXPECT_EQ(std::memcmp(bytes.data(), text_.data() + begin, size), 0);
        }
}

TEST_F(MappedFileTest, OtherMemoryIsLeftAlone) {
    std::vector<char> bytes(10, 'x');
    EXPECT_FALSE(read_mapped(text_.data(), bytes.data(), bytes.size()));
    const void* gone;
    {
        const MappedFile file(path_);
        gone = file.bytes().data();
        EXPECT_FALSE(read_mapped(file.bytes().data() + 99'995, bytes.data(), 6));  // past the end
    }
    EXPECT_FALSE(read_mapped(gone, bytes.data(), bytes.size()));
    EXPECT_EQ(bytes, std::vector<char>(10, 'x'));
}

TEST_F(MappedFileTest, AFileCutShortIsAnError) {
    const MappedFile file(path_);
    std::filesystem::resize_file(path_, 50'000);
    std::vector<char> bytes(100'000);
    try {
        read_mapped(file.bytes().data(), bytes.data(), bytes.size());
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::io);
        EXPECT_NE(std::string(error.what()).find(path_.string()), std::string::npos) << error.what();
    }
}

}  // namespace
}  // namespace sheaf
