#include "model/memory_plan.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "model/random_weights.h"

namespace sheaf {
namespace {

/// The 262B prune on machines whose figures were worked out by hand.
class Plan262B : public ::testing::Test {
  protected:
    struct Subject {
        ModelConfig config;
        Footprint footprint;
    };
    static const Subject& subject() {
        static const Subject made = [] {
            const std::string file =
                SHEAF_SOURCE_DIR "/bench/configs/qwen3.5-reap-262b-a17b-w4a16.config.json";
            Subject result;
            result.config = parse_model_config(read_text_file(file), file);
            result.footprint = measure_footprint(*make_random_weights(result.config), result.config);
            return result;
        }();
        return made;
    }
    static MemoryPlan plan(const PlanRequest& request) {
        return make_memory_plan(subject().config, subject().footprint, request);
    }
};

constexpr uint64_t gib = 1ull << 30;

TEST_F(Plan262B, FitsOneH200WithSomeSequences) {
    const PlanRequest request{.devices = 1,
                              .device_memory = 139 * gib,
                              .bandwidth = 4.3e12,
                              .flops = 788e12,
                              .streams = {1, 2, 8, 64, 128}};
    const MemoryPlan result = plan(request);
    EXPECT_EQ(result.placement, Placement::device);
    EXPECT_NEAR(static_cast<double>(result.weights) / gib, 128.4, 0.2);
    EXPECT_GE(result.sequences, 33);
    EXPECT_LE(result.sequences, 42);
    const double ceilings[] = {409, 584, 910, 1885, 2891};
    for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(result.streams[i].ceiling, ceilings[i], 0.005 * ceilings[i]);
    EXPECT_TRUE(result.streams[2].fits);
    EXPECT_FALSE(result.streams[3].fits);
    EXPECT_NEAR(result.prefill_ceiling, 25.4e3, 0.6e3);
}

TEST_F(Plan262B, SmallerCachesHoldMore) {
    PlanRequest request{.devices = 1, .device_memory = 139 * gib, .streams = {}};
    request.types = {2, 2};
    EXPECT_GE(plan(request).sequences, 53);
    EXPECT_LE(plan(request).sequences, 66);
    request.types = {1, 2};
    EXPECT_GE(plan(request).sequences, 66);
    EXPECT_LE(plan(request).sequences, 83);
}

TEST_F(Plan262B, KeepsExpertsOnTheHostOfASmallDevice) {
    const MemoryPlan result =
        plan({.devices = 1, .device_memory = 24 * gib, .host_memory = 128 * gib, .streams = {}});
    EXPECT_EQ(result.placement, Placement::experts_on_host);
    EXPECT_NEAR(static_cast<double>(result.experts_on_device), 41, 2);
    EXPECT_GE(result.sequences, 1);
    EXPECT_EQ(result.missing, 0u);
}

TEST_F(Plan262B, SaysWhatIsMissing) {
    const MemoryPlan small =
        plan({.devices = 1, .device_memory = 4 * gib, .host_memory = 256 * gib, .streams = {1}});
    EXPECT_EQ(small.placement, Placement::does_not_fit);
    EXPECT_EQ(small.sequences, 0);
    EXPECT_GT(small.missing, 124 * gib);
    const MemoryPlan poor_host =
        plan({.devices = 1, .device_memory = 24 * gib, .host_memory = 32 * gib, .streams = {}});
    EXPECT_EQ(poor_host.placement, Placement::does_not_fit);
    const MemoryPlan host = plan({.host_memory = 160 * gib, .streams = {}});
    EXPECT_EQ(host.placement, Placement::host);
    EXPECT_EQ(host.memory, 160 * gib);
}

}  // namespace
}  // namespace sheaf
