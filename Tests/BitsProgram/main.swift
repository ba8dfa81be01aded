// The bits of a fixed set of programs, as checksums, for perf/bits.sh and the table that it keeps: a line with
// what they were computed by, and for each program a line with its name, a tab and its checksum.

import Foundation
import LazyGrad
import LazyGradJIT
import TestSupport

/// FNV-1a over 64 bits at a time (G. Fowler, L. C. Noll, K.-P. Vo).
struct Checksum {
  private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(_ word: UInt64) { value = (value ^ word) &* 0x100_0000_01B3 }

  /// Exact for all floating types. NaNs count as one: which sign a new one has is the processor's choice.
  mutating func add(_ number: Double) { add(number.isNaN ? .max : number.bitPattern) }

  mutating func add(_ tensor: Tensor) {
    for length in tensor.shape { add(UInt64(length)) }
    if tensor.dtype.isFloating {
      for number in tensor.elements(as: Double.self) { add(number) }
    } else {
      for number in tensor.elements(as: Int64.self) { add(UInt64(bitPattern: number)) }
    }
  }
}

/// Prints the line of a program that has some results.
func report(_ name: String, _ results: [Tensor]) {
  var checksum = Checksum()
  for result in results { checksum.add(result) }
  report(name, checksum)
}

func report(_ name: String, _ checksum: Checksum) {
  let digits = String(checksum.value, radix: 16)
  print(name + "\t" + String(repeating: "0", count: 16 - digits.count) + digits)
}

/// Reproducible numbers that don't take a function to make.
func numbers(_ shape: [Int], _ dtype: DType, scale: Double = 2, seed: UInt64 = 1) -> Tensor {
  var random = SeededRandom(seed: seed)
  let values = (0..<shape.reduce(1, *)).map { _ in scale * (random.uniform() - 0.5) }
  return Tensor(NDArray(values, shape: shape, dtype: dtype))
}

#if arch(arm64)
  let machine = "arm64"
#else
  let machine = "x86-64"
#endif
print("program\t\(machine) \(LazyGradEngine.instructionSet)")
elementaryFunctions()
products()
reductions()
casts()
models()
randomGraphs()
