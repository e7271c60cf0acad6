// SPDX-License-Identifier: MIT OR Apache-2.0
//
// librfs from C++: plans a bundle, shows the plan, and reads the error of a bundle that can't be.
// usage: plan BUNDLE

#include <librfs.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {

class failed : public std::runtime_error {
public:
    explicit failed(const rfs_error &error) : std::runtime_error(error.message), error(error) {}
    rfs_error error;
};

using config_ptr = std::unique_ptr<rfs_config, decltype(&rfs_config_free)>;
using plan_ptr = std::unique_ptr<rfs_plan, decltype(&rfs_plan_free)>;

plan_ptr make_plan(const std::string &json, const std::string &bundle)
{
    rfs_error error{};
    error.size = sizeof(error);
    rfs_config *config = nullptr;
    if (rfs_config_from_oci(json.data(), json.size(), bundle.c_str(), &config, &error) < 0)
        throw failed(error);
    const config_ptr owned(config, rfs_config_free);
    rfs_plan *plan = nullptr;
    if (rfs_plan_new(config, &plan, &error) < 0)
        throw failed(error);
    return plan_ptr(plan, rfs_plan_free);
}

void describe(const rfs_plan *plan, int fd)
{
    rfs_error error{};
    error.size = sizeof(error);
    if (rfs_plan_describe(plan, fd, &error) < 0)
        throw failed(error);
}

} // namespace

int main(int argc, char **argv)
try {
    if (argc != 2)
        throw std::runtime_error("usage: plan BUNDLE");
    const std::unique_ptr<char, decltype(&std::free)> bundle(realpath(argv[1], nullptr), std::free);
    std::ifstream file(std::string(bundle.get()) + "/config.json");
    std::ostringstream text;
    text << file.rdbuf();

    describe(make_plan(text.str(), bundle.get()).get(), fileno(stdout));

    std::string broken = text.str();
    const std::string first = "\"destination\": \"/proc\"";
    const auto at = broken.find(first);
    if (at == std::string::npos)
        throw std::runtime_error("the bundle has no mount on /proc");
    broken.replace(at, first.size(), "\"destination\": \"/proc/sys\"");
    try {
        make_plan(broken, bundle.get());
    } catch (const failed &error) {
        std::cerr << "librfs " << rfs_version() << ": " << error.what() << '\n';
        if (error.error.code == -EINVAL && error.error.object == RFS_OBJECT_MOUNT && error.error.index == 0)
            return 0;
        throw;
    }
    throw std::runtime_error("a mount on /proc/sys was planned");
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
