// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "LazyGrad",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "LazyGrad", targets: ["LazyGrad"]),
    .executable(name: "lgbench", targets: ["lgbench"]),
  ],
  targets: [
    .target(name: "LazyGradJIT"),
    .target(name: "LazyGrad", dependencies: ["LazyGradJIT"]),
    .executableTarget(
      name: "lgbench", dependencies: ["LazyGrad"], resources: [.embedInCode("Resources/sample.txt")]
    ),
    .executableTarget(
      name: "CustomOperation", dependencies: ["LazyGrad"], path: "Examples/CustomOperation"),
    .executableTarget(
      name: "SharedWeights", dependencies: ["LazyGrad"], path: "Examples/SharedWeights"),
    .target(
      name: "TestSupport", dependencies: ["LazyGrad", "LazyGradJIT"], path: "Tests/TestSupport"),
    .testTarget(
      name: "LazyGradJITTests", dependencies: ["LazyGradJIT", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(
      name: "LazyGradTests", dependencies: ["LazyGrad", "LazyGradJIT", "TestSupport"]),
    .testTarget(
      name: "LazyGradExitTests", dependencies: ["LazyGrad", "LazyGradJIT", "TestSupport"]),
    .testTarget(name: "FormulaTests", dependencies: ["LazyGrad"]),
    .testTarget(
      name: "ConformanceTests", dependencies: ["LazyGrad", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(name: "LazyGradProgramTests", dependencies: ["LazyGrad"], exclude: ["Fixtures"]),
    .testTarget(
      name: "LazyGradToolkitTests", dependencies: ["LazyGrad", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(
      name: "FuzzTests", dependencies: ["LazyGrad", "LazyGradJIT", "TestSupport"],
      exclude: ["Kept"]),
  ],
  swiftLanguageModes: [.v6]
)
