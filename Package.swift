// swift-tools-version: 6.2
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
    .executableTarget(
      name: "CharacterModel", dependencies: ["LazyGrad"], path: "Examples/CharacterModel",
      resources: [.embedInCode("Resources/romeo.txt")]),
    .executableTarget(
      name: "Digits", dependencies: ["LazyGrad"], path: "Examples/Digits",
      exclude: ["make_digits.py"],
      resources: [.embedInCode("Resources/digits.npz")]),
    .executableTarget(
      name: "SensorModel", dependencies: ["LazyGrad"], path: "Examples/SensorModel",
      exclude: ["make_readings.py"],
      resources: [.embedInCode("Resources/readings.npz")]),
    .executableTarget(
      name: "TorchModel", dependencies: ["LazyGrad"], path: "Examples/TorchModel",
      exclude: ["make_model.py"],
      resources: [
        .embedInCode("Resources/iris.safetensors"), .embedInCode("Resources/expected.safetensors"),
      ]),
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
      name: "LazyGradToolkitTests", dependencies: ["LazyGrad", "TestSupport"], exclude: ["Fixtures"]
    ),
    .testTarget(name: "DistributedTests", dependencies: ["LazyGrad"]),
    .executableTarget(
      name: "RankProgram", dependencies: ["LazyGrad"], path: "Tests/RankProgram"),
    .executableTarget(
      name: "BitsProgram", dependencies: ["LazyGrad", "LazyGradJIT", "TestSupport"],
      path: "Tests/BitsProgram"),
    .executableTarget(
      name: "InstructionCounts", dependencies: ["LazyGrad"], path: "Tests/InstructionCounts"),
    .testTarget(
      name: "FuzzTests", dependencies: ["LazyGrad", "LazyGradJIT", "TestSupport"],
      exclude: ["Kept"]),
  ],
  swiftLanguageModes: [.v6]
)
