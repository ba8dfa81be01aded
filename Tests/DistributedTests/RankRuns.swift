// Runs of RankProgram under a launcher: which launcher there is, and what a run has said.

import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A launcher that is installed here.
struct InstalledLauncher {
  let path: String
  let isOpenMPI: Bool

  /// `LAZYGRAD_MPIRUN`, or else what the path has. nil, after one line that says so: none.
  static let found: InstalledLauncher? = {
    let environment = ProcessInfo.processInfo.environment
    let folders = (environment["PATH"] ?? "").split(separator: ":").map(String.init)
    let paths =
      environment["LAZYGRAD_MPIRUN"].map { [$0] }
      ?? folders.flatMap { ["\($0)/mpirun", "\($0)/mpiexec"] }
    guard let path = paths.first(where: { FileManager.default.isExecutableFile(atPath: $0) }) else {
      print("DistributedTests: no mpirun is installed: what needs ranks is not tested")
      return nil
    }
    guard FileManager.default.isExecutableFile(atPath: program) else {
      print("DistributedTests: \(program) is not built: what needs ranks is not tested")
      return nil
    }
    let version = RankRun(command: [path, "--version"], [:], limit: 20).output
    return InstalledLauncher(path: path, isOpenMPI: version.contains("Open"))
  }()

  /// The program that the package builds beside the tests.
  static let program: String = {
    var folder = Bundle.main.bundleURL
    // On Linux the tests are a program in the folder; elsewhere they are a bundle in it, and what runs them is
    // the toolchain's.
    for bundle in Bundle.allBundles where bundle.bundlePath.hasSuffix(".xctest") {
      folder = bundle.bundleURL.deletingLastPathComponent()
    }
    return folder.appending(path: "RankProgram").path
  }()

  /// Runs a scenario of RankProgram.
  func run(
    _ ranks: Int, _ scenario: String..., environment: [String: String] = [:], limit: Double = 120
  ) -> RankRun {
    var command = [path]
    if isOpenMPI { command += ["--oversubscribe"] + (getuid() == 0 ? ["--allow-run-as-root"] : []) }
    command += ["-n", "\(ranks)", Self.program] + scenario
    // Ranks share the cores with everything else that is tested. A launcher may look for its own programs in the
    // path.
    let folder = URL(filePath: path).deletingLastPathComponent().path
    let usual = [
      "LAZYGRAD_THREADS": "1", "SWIFT_BACKTRACE": "enable=no",
      "PATH": "\(folder):\(ProcessInfo.processInfo.environment["PATH"] ?? "")",
    ]
    return RankRun(command: command, usual.merging(environment) { $1 }, limit: limit)
  }
}

/// What a command has said, and how it has ended.
struct RankRun {
  private(set) var status: Int32 = -1
  private(set) var seconds = 0.0
  private(set) var output = ""
  private(set) var errors = ""
  private(set) var hasTimedOut = false

  /// The library's own lines on standard error.
  var lines: [String] {
    errors.split(separator: "\n").map(String.init).filter { $0.contains("LazyGrad: ") }
  }

  init(command: [String], _ environment: [String: String], limit: Double) {
    // Files, not pipes: what a launcher leaves behind may keep a pipe open.
    let folder = FileManager.default.temporaryDirectory.appending(path: "ranks-\(UUID())")
    defer { try? FileManager.default.removeItem(at: folder) }
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let files = ["out", "err"].map { folder.appending(path: $0) }
      for file in files { try Data().write(to: file) }
      let process = Process()
      process.executableURL = URL(filePath: command[0])
      process.arguments = Array(command.dropFirst())
      process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = try FileHandle(forWritingTo: files[0])
      process.standardError = try FileHandle(forWritingTo: files[1])
      let begin = Date()
      try process.run()
      while process.isRunning {
        usleep(20_000)
        seconds = Date().timeIntervalSince(begin)
        if seconds > limit, !hasTimedOut {
          hasTimedOut = true
          // The launcher ends its ranks on this one.
          process.terminate()
        }
        if seconds > limit + 10 { kill(process.processIdentifier, SIGKILL) }
      }
      status = process.terminationStatus
      output = String(decoding: try Data(contentsOf: files[0]), as: UTF8.self)
      errors = String(decoding: try Data(contentsOf: files[1]), as: UTF8.self)
    } catch { errors = "\(error)" }
  }
}
