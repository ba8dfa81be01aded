// A tensor with its gradient in a file, and what happens where files can't be written.

import Foundation
import LazyGrad
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

@Suite("Saving")
struct SavingTests {
  private func contents(_ folder: URL) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
  }

  @Test("Value, gradient and constness come back")
  func tensors() throws {
    try withFolder { folder in
      let file = folder.appending(path: "x.npz")
      let x = Tensor([[1.0, 2], [3, 4]])
      (x * x * x).backward()
      try x.save(to: file)
      let y = try Tensor.load(file)
      #expect(y.elements(as: Double.self) == [1, 2, 3, 4] && !y.isConstant && y.shape == [2, 2])
      #expect(y.gradient.elements(as: Double.self) == [3, 12, 27, 48])
      #expect(x.gradient.elements(as: Double.self) == [3, 12, 27, 48])
      // A restored gradient is one like others.
      noAutodiff { y -= y.gradient }
      #expect(y.elements(as: Double.self) == [-2, -10, -24, -44])
      for dtype in DType.allCases where dtype != .bfloat16 {
        for constant in dtype.isFloating ? [true, false] : [true] {
          let z = Tensor(NDArray([0, 1]).astype(dtype), constant: constant)
          try z.save(to: file.path)
          let w = try Tensor.load(file.path)
          #expect(w.dtype == dtype && w.isConstant == constant && w.grad == nil)
          #expect(w.snapshot == z.snapshot)
        }
      }
      // A view saves its own part.
      try x[0].save(to: file)
      #expect(try Tensor.load(file).gradient.elements(as: Double.self) == [3, 12])
      #expect(try contents(folder) == ["x.npz"])
      try NPZArchive.write(["x": x], to: file)
      let error = #expect(throws: TensorFileError.self) { try Tensor.load(file) }
      #expect(error?.entry == "data" && error?.reason == .notFound)
    }
  }

  @Test(
    "Parts that don't fit together",
    arguments: [
      ["data": NDArray([1.0, 2]), "grad": NDArray([1.0])],
      ["data": NDArray([1.0, 2]), "grad": NDArray([1, 2])],
      ["data": NDArray([1.0, 2]), "grad": NDArray([1.0, 2], dtype: .float32)],
      ["data": NDArray([1.0, 2]), "grad": NDArray([1.0, 2]), "constant": NDArray(true)],
      ["data": NDArray([1, 2]), "grad": NDArray([1, 2])],
      ["data": NDArray([1, 2]), "constant": NDArray(false)],
      ["data": NDArray([1.0, 2]), "constant": NDArray(1)],
      ["data": NDArray([1.0, 2]), "constant": NDArray([true, false])],
    ].map { $0.mapValues(TensorSnapshot.init) })
  func mismatch(_ arrays: [String: TensorSnapshot]) throws {
    try withFolder { folder in
      let file = folder.appending(path: "x.npz")
      try NPZArchive.write(arrays, to: file)
      let error = #expect(throws: TensorFileError.self) { try Tensor.load(file) }
      #expect(error?.reason == .malformed && error?.entry != nil)
    }
  }

  /// All ways to write a file of something.
  static let writers: [@Sendable (Tensor, String) throws -> Void] = [
    { try $0.write(npy: $1) }, { try NPZArchive.write(["x": $0], to: $1) },
    { try $0.save(to: $1) }, { try SafeTensors.write(["x": $0], to: $1) },
  ]

  private func reason(_ body: () throws -> Void) -> TensorFileError.Reason? {
    do {
      try body()
      return nil
    } catch { return (error as? TensorFileError)?.reason }
  }

  @Test("Where the system refuses it is an error, and the old file stays", arguments: 0..<4)
  func refusals(_ index: Int) throws {
    let write = Self.writers[index]
    let x = Tensor.full([1000], 1.0)
    try withFolder { folder in
      #expect(reason { try write(x, folder.path + "/none/x") } == .notFound)
      #expect(reason { try write(x, folder.path) } == .system(code: EISDIR))
      #expect(reason { try write(x, folder.path + "/new/") } != nil)
      #expect(reason { try write(x, "") } == .notWritable)
      #expect(reason { try write(x, folder.path + "/a\0b") } == .notWritable)
      let file = folder.path + "/x"
      try write(x, file)
      let old = try Data(contentsOf: URL(filePath: file))
      // A value that there is none of.
      let poisoned = #expect(throws: TensorError.self) {
        try catchingTensorErrors { try write(x + Tensor([1.0, 2]), file) }
      }
      #expect(poisoned?.operation == "add")
      #expect(try Data(contentsOf: URL(filePath: file)) == old)
      #expect(reason { try write(x, file + "/x") } == .system(code: ENOTDIR))
      #expect(try contents(folder) == ["x"])
      #if os(Linux)
        #expect(reason { try write(x, "/dev/full") } == .system(code: ENOSPC))
        #expect(
          try FileManager.default.attributesOfItem(atPath: "/dev/full")[.type] as? FileAttributeType
            == .typeCharacterSpecial)
        try write(x, "/dev/null")
        #expect(try !contents(URL(filePath: "/dev")).contains { $0.hasSuffix(".saving") })
      #endif
      // Root may write anywhere.
      if geteuid() != 0 {
        chmod(folder.path, 0o500)
        defer { chmod(folder.path, 0o700) }
        #expect(reason { try write(x, file) } == .system(code: EACCES))
        #expect(try Data(contentsOf: URL(filePath: file)) == old)
      }
    }
  }

  @Test("Permissions, links and what a killed save has left", arguments: 0..<4)
  func replaced(_ index: Int) throws {
    let write = Self.writers[index]
    try withFolder { folder in
      let (file, link) = (folder.path + "/x", folder.path + "/link")
      try write(Tensor([1.0]), file)
      chmod(file, 0o640)
      symlink("x", link)
      let first = try Data(contentsOf: URL(filePath: file))
      try write(Tensor([2.0, 3]), link)
      #expect(try contents(folder) == ["link", "x"])
      var status = stat()
      #expect(lstat(link, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
      #expect(stat(file, &status) == 0 && status.st_mode & 0o777 == 0o640)
      #expect(try Data(contentsOf: URL(filePath: file)) != first)
      // The longest name that a file can have.
      let long = folder.path + "/" + String(repeating: "é", count: 127)
      try write(Tensor([1.0]), long)
      #expect(try Data(contentsOf: URL(filePath: long)) == first)
      remove(long)
      // A file that a killed process has left is used again, and cut to length.
      let left = folder.path + "/.x.saving"
      try Data(count: 1 << 20).write(to: URL(filePath: left))
      try write(Tensor([1.0]), file)
      #expect(try Data(contentsOf: URL(filePath: file)) == first)
      #expect(try contents(folder) == ["link", "x"])
      // What has that name and isn't such a file is left alone: another name of a file, a link, a folder.
      let other = folder.path + "/other"
      try Data([1, 2, 3]).write(to: URL(filePath: other))
      for make in [{ hardLink(other, left) }, { symlink("other", left) }, { mkdir(left, 0o700) }] {
        #expect(make() == 0)
        try write(Tensor([4.0]), file)
        #expect(try Data(contentsOf: URL(filePath: other)) == Data([1, 2, 3]))
        #expect(try contents(folder) == [".x.saving", "link", "other", "x"])
        remove(left)
      }
      // A link to nothing is a mistake of somebody's.
      remove(file)
      #expect(reason { try write(Tensor([1.0]), link) } == .notWritable)
    }
  }

  @Test("Saves to one file side by side leave the file of one of them")
  func concurrent() async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "files-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: "x.npz")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<8 {
        group.addTask {
          let x = Tensor.full([1 << (task + 8)], Double(task)).snapshot
          for _ in 0..<10 {
            try NPZArchive.write(["x": x], to: file)
            let y = try NPZArchive(file).array("x")
            let value = y[0].item()
            #expect(y.count == 1 << (Int(value) + 8))
            #expect(y.elements(as: Double.self).allSatisfy { $0 == value })
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try contents(folder) == ["x.npz"])
  }

  #if os(Linux) || os(macOS)
    @Test("A disk that is full in the middle of a file", arguments: 0..<4)
    func fullDisk(_ index: Int) async {
      setenv("LAZYGRAD_TEST_WRITER", "\(index)", 1)
      await #expect(processExitsWith: .success) {
        let write = SavingTests.writers[
          Int(ProcessInfo.processInfo.environment["LAZYGRAD_TEST_WRITER"]!)!]
        try withFolder { folder in
          let file = folder.path + "/x"
          try write(Tensor([1.0]), file)
          let old = try Data(contentsOf: URL(filePath: file))
          // The system gives a file no more than so many bytes.
          signal(SIGXFSZ, SIG_IGN)
          var limit = rlimit(rlim_cur: 100_000, rlim_max: 100_000)
          #if os(Linux)
            precondition(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
          #else
            precondition(setrlimit(RLIMIT_FSIZE, &limit) == 0)
          #endif
          for count in [12_400, 12_600, 100_000, 1_000_000] {
            do {
              try write(Tensor.full([count], 2.0), file)
              precondition(count == 12_400)
              try write(Tensor([1.0]), file)
            } catch let error as TensorFileError {
              precondition(count > 12_400 && error.reason == .system(code: EFBIG), "\(error)")
            }
            precondition(try! Data(contentsOf: URL(filePath: file)) == old)
            precondition(
              try! FileManager.default.contentsOfDirectory(atPath: folder.path) == ["x"])
          }
        }
      }
    }
  #endif
}

/// A second name for a file.
private func hardLink(_ file: String, _ name: String) -> Int32 { link(file, name) }
