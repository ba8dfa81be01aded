// Arrays, snapshots and tensors over memory that comes from elsewhere.

import Foundation
import LazyGrad
import Testing

@Suite("Memory of others")
struct ForeignMemoryTests {
  /// Memory that says when it goes.
  private final class Block: Sendable {
    nonisolated(unsafe) let memory: UnsafeMutableRawBufferPointer
    private let gone: @Sendable () -> Void

    init(_ byteCount: Int, gone: @escaping @Sendable () -> Void = {}) {
      memory = .allocate(byteCount: byteCount, alignment: 64)
      memory.initializeMemory(as: UInt8.self, repeating: 0)
      self.gone = gone
    }

    deinit {
      memory.deallocate()
      gone()
    }
  }

  private final class Flag: @unchecked Sendable { var isSet = false }

  @Test("A snapshot shows it, from every place that fits, and keeps its owner")
  func snapshots() throws {
    let flag = Flag()
    var block: Block? = Block(64 + 24 + 64) { flag.isSet = true }
    let values = block!.memory.bindMemory(to: Double.self)
    for i in values.indices { values[i] = Double(i) }
    for start in 0...8 {
      let snapshot = try TensorSnapshot(
        shape: [3], dtype: .float64, memory: UnsafeRawBufferPointer(block!.memory),
        byteOffset: 8 * start, owner: block!)
      let x = Tensor(sharing: snapshot)
      #expect(x.elements(as: Double.self) == [0, 1, 2].map { Double(start + $0) })
      #expect((x * 2).sum().item() == Double(6 * start + 6))
      #expect(x[1...].elements(as: Double.self) == [Double(start + 1), Double(start + 2)])
      #expect(!x.array.isWriteable)
      #expect(throws: MemoryGuardError.readOnly) { try x.array[0..<1].fill(0.0) }
      let address = x.array.withUnsafeElements(as: Double.self) { $0.baseAddress }
      #expect(address == UnsafePointer(values.baseAddress! + start))
      #expect(try NDArray(snapshot).isWriteable && snapshot == x.snapshot)
      #expect(
        snapshot.withUnsafeBytes { UnsafeRawPointer($0.baseAddress!) } == UnsafeRawPointer(address))
    }
    var x: Tensor? = Tensor(
      sharing: try TensorSnapshot(
        shape: [2], dtype: .float64, memory: UnsafeRawBufferPointer(block!.memory), byteOffset: 8,
        owner: block!))
    block = nil
    #expect(!flag.isSet && x!.elements(as: Double.self) == [1, 2])
    x = nil
    LazyGradEngine.trimMemory()
    #expect(flag.isSet)
  }

  @Test("What does not fit is refused")
  func refusals() throws {
    let block = Block(256)
    let memory = UnsafeRawBufferPointer(block.memory)
    func error(
      _ shape: [Int], _ dtype: DType, _ memory: UnsafeRawBufferPointer, _ offset: Int
    ) -> SnapshotError? {
      do throws(SnapshotError) {
        _ = try TensorSnapshot(
          shape: shape, dtype: dtype, memory: memory, byteOffset: offset, owner: block)
        return nil
      } catch { return error }
    }
    #expect(error([24], .float64, memory, 0) == nil)
    #expect(error([25], .float64, memory, 0) == .byteCount(expected: 200, got: 192))
    #expect(error([24], .float64, memory, 8) == .byteCount(expected: 192, got: 184))
    #expect(error([0], .float64, memory, 200) == .byteCount(expected: 0, got: 0))
    #expect(error([1], .float64, memory, .max - 7) == .byteCount(expected: 8, got: 0))
    #expect(error([1], .float64, memory, 4) == .misaligned(byteOffset: 4))
    #expect(error([1], .float32, memory, -4) == .misaligned(byteOffset: -4))
    #expect(
      error([1], .float64, UnsafeRawBufferPointer(rebasing: memory[8...]), 0)
        == .misaligned(byteOffset: 0))
    #expect(
      error([0], .float64, UnsafeRawBufferPointer(start: nil, count: 0), 0)
        == .misaligned(byteOffset: 0))
    #expect(error([-1], .uint8, memory, 0) == .negativeLength(shape: [-1]))
    #expect(error([1 << 62], .float64, memory, 0) == .tooLarge(shape: [1 << 62]))
    #expect(error([Int](repeating: 1, count: 65), .uint8, memory, 0) == .tooManyAxes(65))
    block.memory[3] = 2
    #expect(error([4], .bool, memory, 0) == .invalidBool)
    #expect(error([3], .bool, memory, 0) == nil)
  }

  @Test("An array is filled by whoever has its bytes")
  func filled() throws {
    let x = try NDArray(shape: [2, 3], dtype: .int32) { bytes in
      #expect(bytes.count == 24)
      for i in bytes.indices { bytes[i] = i % 4 == 0 ? UInt8(i) : 0 }
    }
    #expect(
      x.elements(as: Int.self) == [0, 4, 8, 12, 16, 20] && x.shape == [2, 3] && x.isWriteable)
    let truth = try NDArray(shape: [4], dtype: .bool) { $0.copyBytes(from: [0, 1, 2, 255]) }
    #expect(truth.elements(as: Bool.self) == [false, true, true, true])
    #expect(try truth.withUnsafeBytes { [UInt8]($0) } == [0, 1, 1, 1])
    let empty = try NDArray(shape: [0, 2], dtype: .float64) { #expect($0.isEmpty) }
    #expect(empty.shape == [0, 2])
    struct Failure: Error {}
    #expect(throws: Failure.self) {
      try NDArray(shape: [2], dtype: .float64) { _ in throw Failure() }
    }
    for shape in [[-1], [1 << 62, 8], [Int](repeating: 1, count: 65)] {
      let error = #expect(throws: TensorError.self) {
        try NDArray(shape: shape, dtype: .float64) { _ in }
      }
      #expect(error?.cause == .misuse)
    }
    let error = #expect(throws: TensorError.self) {
      try NDArray(shape: [1 << 50], dtype: .uint8) { _ in }
    }
    #expect(error?.cause == .outOfMemory)
  }

  @Test("Bytes are given in C order, and not of what could not be made")
  func bytes() throws {
    let x = NDArray([[1, 2], [3, 4]], dtype: .uint8)
    #expect(try x.withUnsafeBytes { [UInt8]($0) } == [1, 2, 3, 4])
    #expect(try x.transposed().withUnsafeBytes { [UInt8]($0) } == [1, 3, 2, 4])
    #expect(try x[.all, 1].withUnsafeBytes { [UInt8]($0) } == [2, 4])
    #expect(throws: TensorError.self) {
      try catchingTensorErrors { _ = try NDArray.zeros([-1]).withUnsafeBytes { $0.count } }
    }
  }
}
