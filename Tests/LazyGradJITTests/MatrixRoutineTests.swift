// Routines on matrices against the oracle, in every size at which they take another way, and against what
// defines their results where the oracle is too slow.

import LazyGradJIT
import TestSupport
import Testing

@Suite("Matrix routines")
struct MatrixRoutineTests {
  /// Below, at and above the sizes of a strip and of a block.
  private static let sizes = [0, 1, 2, 3, 5, 7, 8, 13, 15, 16, 17, 31, 32, 33, 49, 65]

  /// Random matrices; for `isDefinite` symmetric ones with eigenvalues of at least 1.
  private static func operand(
    _ type: ScalarType, _ dims: [Int], seed: Int, isDefinite: Bool = false
  ) -> ReferenceArray {
    var random = SeededRandom(seed: UInt64(seed))
    let count = dims.reduce(1, *)
    var values = (0..<count).map { _ in random.uniform(-1...1) }
    if isDefinite {
      let n = dims[dims.count - 1]
      for start in stride(from: 0, to: count, by: max(n * n, 1)) {
        let x = Array(values[start..<(start + n * n)])
        for i in 0..<n {
          for j in 0..<n {
            let sum = (0..<n).reduce(0) { $0 + x[i * n + $1] * x[j * n + $1] }
            values[start + i * n + j] = sum + (i == j ? 1 : 0)
          }
        }
      }
    }
    return ReferenceArray(type, dims, floats: values)
  }

  private static func run(
    _ attribute: UInt32, _ operands: [ReferenceArray], flush: FencedMemory.Flush = .end,
    _ set: InstructionSet = .portable, refusesCode: Bool = false
  ) -> ReferenceArray {
    let call = MatrixCall(
      attribute: attribute, operands[0].dims, operands.dropFirst().first?.dims,
      hasFactors: operands.count > 2)
    let type = operands[0].type
    let memory = operands.map { operand in
      // Results may be read past their end, operands are not.
      let memory = FencedMemory(byteCount: operand.count * type.size + 64, flush: flush)
      operand.store(to: memory.pointer)
      return memory
    }
    let count = call.resultCounts.reduce(0, +) * call.batch
    let result = FencedMemory(byteCount: count * type.size + 64, flush: flush)
    let guardWord = result.pointer + count * type.size
    guardWord.storeBytes(of: 0x5A5A_5A5A_5A5A_5A5A, as: UInt64.self)
    // Memory is not kept by its address.
    let workBytes = call.workBytes(type)
    let work = FencedMemory(byteCount: workBytes, flush: flush)
    return withExtendedLifetime((memory, result, work)) {
      call.run(
        type: type, a: memory[0].pointer, b: memory.dropFirst().first.map { $0.pointer },
        factors: memory.dropFirst(2).first.map { $0.pointer }, to: result.pointer,
        WorkMemory(work.pointer, byteCount: workBytes),
        MatrixProductCompiler.products(for: call, type, set, refusesCode: refusesCode))
      #expect(guardWord.loadUnaligned(as: UInt64.self) == 0x5A5A_5A5A_5A5A_5A5A)
      let layout = LayoutTable.shared[LayoutTable.shared.intern(dims: [count])]
      return ReferenceArray(type, layout, at: result.pointer)
    }
  }

  private func compare(
    _ attribute: UInt32, _ operands: [ReferenceArray], _ tolerance: Double, _ context: String
  ) {
    let actual = Self.run(attribute, operands)
    let node = GraphNode(
      .matrix, operands[0].type, shape: LayoutTable.shared.intern(dims: [actual.count]),
      attribute: attribute)
    let expected = Reference.value(of: node, operands, leaves: [], scalars: [])
    let scale = expected.floats.reduce(1) { max($0, $1.isFinite ? abs($1) : 0) }
    for (i, (x, y)) in zip(actual.floats, expected.floats).enumerated() {
      let isClose = x == y || (x.isNaN && y.isNaN) || abs(x - y) <= tolerance * scale
      if !isClose {
        Issue.record("\(context), element \(i): expected \(y), got \(x)")
        return
      }
    }
  }

  @Test(arguments: [ScalarType.float64, .float32])
  func systems(_ type: ScalarType) {
    let tolerance = type == .float64 ? 1e-10 : 2e-2
    for n in Self.sizes {
      for batch in [[], [2]] {
        let definite = Self.operand(type, batch + [n, n], seed: n, isDefinite: true)
        compare(MatrixCall.attribute(.cholesky), [definite], tolerance, "cholesky \(n)")
        compare(MatrixCall.attribute(.inverse), [definite], tolerance, "inverse \(n)")
        let any = Self.operand(type, batch + [n, n], seed: n + 100)
        compare(MatrixCall.attribute(.determinant), [any], tolerance, "determinant \(n)")
        compare(MatrixCall.attribute(.logDeterminant), [any], tolerance, "logDeterminant \(n)")
        for width in [0, 1, 2, 5, 40] {
          let b = Self.operand(type, batch + [n, width], seed: width)
          compare(MatrixCall.attribute(.solve), [definite, b], tolerance, "solve \(n) \(width)")
          for bits in 0..<UInt8(8) {
            let options = MatrixCall.Options(rawValue: bits)
            // With small numbers beside the diagonal: a random triangle is as good as singular.
            let triangle = ReferenceArray(
              type, definite.dims,
              floats: definite.floats.enumerated().map { i, x in
                i % (n * n) % (n + 1) == 0 ? 1 + abs(x) / Double(n) : x / Double(8 * n)
              })
            compare(
              MatrixCall.attribute(.triangularSolve, options), [triangle, b], tolerance,
              "triangularSolve \(n) \(width) \(bits)")
          }
        }
      }
    }
  }

  /// Factors say how a system and the transposed one are solved without the matrix, which is zeros here.
  @Test(arguments: [ScalarType.float64, .float32])
  func systemsByFactors(_ type: ScalarType) {
    let tolerance = type == .float64 ? 1e-9 : 5e-2
    for n in Self.sizes + [100] where n > 0 {
      for batch in [[], [2]] {
        let a = Self.operand(type, batch + [n, n], seed: n + 100, isDefinite: n % 2 == 0)
        let routine = MatrixCall.attribute(.factors)
        compare(routine, [a], tolerance, "factors \(n)")
        let zeros = ReferenceArray(type, a.dims, floats: a.floats.map { _ in 0 })
        for width in [0, 1, 3, 20] {
          let b = Self.operand(type, batch + [n, width], seed: width)
          for set in NativeCode.available {
            let factors = Self.run(routine, [a], set)
            let plain = Self.run(MatrixCall.attribute(.solve), [a, b], set).floats
            let found = Self.run(MatrixCall.attribute(.solve), [zeros, b, factors], set).floats
            #expect(found == plain, "\(n) \(width) \(set)")
          }
          let factors = Self.run(routine, [a])
          let turned = Self.run(
            MatrixCall.attribute(.solve, .transposed), [zeros, b, factors]
          ).floats
          let node = GraphNode(
            .matrix, type, shape: LayoutTable.shared.intern(dims: batch + [n, width]),
            attribute: MatrixCall.attribute(.solve, .transposed))
          let expected = Reference.value(of: node, [a, b], leaves: [], scalars: []).floats
          let scale = expected.reduce(1) { max($0, abs($1)) }
          for (x, y) in zip(turned, expected) where !(abs(x - y) <= tolerance * scale) {
            Issue.record("transposed \(n) \(width): expected \(y), got \(x)")
            break
          }
        }
      }
    }
  }

  @Test("A pivot of 0 spoils its own factors, and what is solved with them")
  func singularFactors() {
    var values = Self.operand(.float64, [2, 20, 20], seed: 6, isDefinite: true).floats
    for i in 0..<20 { values[i * 20 + 7] = 0 }
    let a = ReferenceArray(.float64, [2, 20, 20], floats: values)
    let b = Self.operand(.float64, [2, 20, 3], seed: 7)
    let factors = Self.run(MatrixCall.attribute(.factors), [a])
    #expect(factors.floats[..<420].allSatisfy { $0.isNaN })
    #expect(factors.floats[420...].allSatisfy { $0.isFinite })
    for options in [MatrixCall.Options(), .transposed] {
      let x = Self.run(MatrixCall.attribute(.solve, options), [a, b, factors]).floats
      #expect(x[..<60].allSatisfy { $0.isNaN } && x[60...].allSatisfy { $0.isFinite })
    }
  }

  /// In large matrices machine code takes the products, of any number of rows and columns.
  @Test(arguments: [ScalarType.float64, .float32])
  func largeSystems(_ type: ScalarType) {
    let tolerance = type == .float64 ? 1e-10 : 2e-2
    for (n, width) in [
      (95, 3), (96, 16), (97, 1), (103, 17), (130, 97), (161, 81), (300, 2), (531, 70),
    ] {
      let definite = Self.operand(type, [n, n], seed: n, isDefinite: true)
      let b = Self.operand(type, [n, width], seed: width)
      let calls: [(UInt32, [ReferenceArray])] = [
        (MatrixCall.attribute(.cholesky), [definite]), (MatrixCall.attribute(.inverse), [definite]),
        (MatrixCall.attribute(.solve), [definite, b]),
        (MatrixCall.attribute(.triangularSolve, [.upper]), [definite, b]),
        (MatrixCall.attribute(.triangularSolve, [.transposed]), [definite, b]),
        (MatrixCall.attribute(.logDeterminant), [definite]),
        (MatrixCall.attribute(.factors), [definite]),
      ]
      for (k, (attribute, operands)) in calls.enumerated() {
        let plain = Self.run(attribute, operands).floats
        let scale = plain.reduce(1) { max($0, abs($1)) }
        var fused: [Double]?
        for set in NativeCode.available where set != .portable {
          for flush in FencedMemory.Flush.allCases {
            let found = Self.run(attribute, operands, flush: flush, set).floats
            // Any tier gives these bits, and so do portable kernels where code is refused.
            let expected = fused ?? Self.run(attribute, operands, set, refusesCode: true).floats
            fused = expected
            #expect(found == expected, "\(n) \(width) call \(k) \(set)")
          }
        }
        for (x, y) in zip(fused ?? plain, plain) where !(abs(x - y) <= tolerance * scale) {
          Issue.record("\(n) \(width) call \(k): expected \(y), got \(x)")
          break
        }
      }
    }
  }

  @Test(arguments: [ScalarType.float64, .float32])
  func factors(_ type: ScalarType) {
    let tolerance = type == .float64 ? 1e-10 : 2e-2
    for n in Self.sizes where n < 33 || type == .float64 {
      for extra in [0, 1, 20] {
        let tall = Self.operand(type, [2, n + extra, n], seed: 3 * n + extra)
        compare(MatrixCall.attribute(.qr), [tall], tolerance, "qr \(n + extra)x\(n)")
      }
    }
    // Distinct values, so that vectors are what they are.
    for n in [0, 1, 2, 3, 5, 8, 13] {
      var values = Self.operand(type, [n, n], seed: n + 7).floats.map { $0 / 4 }
      for i in 0..<n { values[i * n + i] = Double((i + 1) * (i + 1)) / 2 }
      let spread = ReferenceArray(type, [n, n], floats: values)
      compare(MatrixCall.attribute(.eigh), [spread], tolerance, "eigh \(n)")
      compare(MatrixCall.attribute(.svd), [spread], tolerance, "svd \(n)")
      let tall = ReferenceArray(type, [1, n, n], floats: values)
      compare(MatrixCall.attribute(.eigh), [tall], tolerance, "eigh \(n), one of a batch")
    }
    for (m, n) in [(4, 2), (2, 4), (7, 3), (3, 9), (5, 1), (1, 5), (0, 3), (3, 0)] {
      let a = Self.operand(type, [2, m, n], seed: 10 * m + n)
      compare(MatrixCall.attribute(.svd), [a], tolerance, "svd \(m)x\(n)")
    }
  }

  // MARK: What defines them

  private typealias Matrix = [[Double]]

  private func product(_ a: Matrix, _ b: Matrix) -> Matrix {
    a.map { row in
      var sums = [Double](repeating: 0, count: b.first?.count ?? 0)
      for (x, other) in zip(row, b) { for j in sums.indices { sums[j] += x * other[j] } }
      return sums
    }
  }

  private func transposed(_ a: Matrix) -> Matrix {
    (a.first ?? []).indices.map { j in a.map { $0[j] } }
  }

  private func distance(_ a: Matrix, _ b: Matrix) -> Double {
    zip(a.joined(), b.joined()).reduce(0) { max($0, abs($1.0 - $1.1)) }
  }

  private func distanceFromIdentity(_ a: Matrix) -> Double {
    distance(a, a.indices.map { i in a.indices.map { $0 == i ? 1 : 0 } })
  }

  private func rows(_ x: ArraySlice<Double>, _ columns: Int) -> Matrix {
    stride(from: x.startIndex, to: x.endIndex, by: max(columns, 1)).map {
      Array(x[$0..<($0 + columns)])
    }
  }

  /// Matrices that are hard for the one or the other method.
  private static func hard(_ m: Int, _ n: Int) -> [(String, [Double])] {
    var random = SeededRandom(seed: 99)
    func matrix(_ element: (Int, Int) -> Double) -> [Double] {
      (0..<(m * n)).map { element($0 / n, $0 % n) }
    }
    return [
      ("zeros", matrix { _, _ in 0 }), ("ones", matrix { _, _ in 1 }),
      ("identity", matrix { $0 == $1 ? 1 : 0 }),
      ("Hilbert", matrix { 1 / Double($0 + $1 + 1) }),
      ("huge", matrix { 1e300 * Double(($0 + 2 * $1) % 7 - 3) }),
      ("tiny", matrix { 1e-300 * Double(($0 + 2 * $1) % 7 - 3) }),
      ("graded", matrix { i, j in random.uniform(-1...1) * 0x1p-30 * Double(1 << min(i + j, 60)) }),
      ("rank 2", matrix { Double($0 % 3) * Double($1 % 5) + Double($0 % 2) }),
      ("random", matrix { _, _ in random.uniform(-1...1) }),
      ("clustered", matrix { i, j in (i == j ? 1 : 0) + 1e-14 * random.uniform(-1...1) }),
    ]
  }

  @Test(
    "Eigenvectors of hard matrices are orthonormal and give the matrix", arguments: [3, 40, 71])
  func hardEigenvalues(_ n: Int) {
    for (name, values) in Self.hard(n, n) {
      let symmetric = rows(values[...], n).enumerated().map { i, row in
        (0..<n).map { $0 <= i ? row[$0] : values[$0 * n + i] }
      }
      let largest = max(symmetric.joined().reduce(0) { max($0, abs($1)) }, .leastNormalMagnitude)
      let result = Self.run(
        MatrixCall.attribute(.eigh),
        [ReferenceArray(.float64, [n, n], floats: Array(symmetric.joined()))]
      ).floats
      let w = result[..<n].map { $0 / largest }
      let v = rows(result[n...], n)
      #expect(distanceFromIdentity(product(transposed(v), v)) < 1e-13 * Double(n), "\(name)")
      #expect(zip(w, w.dropFirst()).allSatisfy { $0 <= $1 }, "\(name)")
      let scaled = v.map { row in zip(row, w).map { $0 * $1 } }
      let back = product(scaled, transposed(v))
      let target = symmetric.map { $0.map { $0 / largest } }
      #expect(distance(back, target) < 1e-14 * Double(n * 4), "\(name)")
    }
  }

  @Test("Singular vectors of hard matrices are orthonormal and give the matrix")
  func hardSingularValues() {
    for (m, n) in [(3, 3), (40, 40), (50, 20), (20, 50), (71, 33)] {
      let k = min(m, n)
      for (name, values) in Self.hard(m, n) {
        let largest = max(values.reduce(0) { max($0, abs($1)) }, .leastNormalMagnitude)
        let result = Self.run(
          MatrixCall.attribute(.svd), [ReferenceArray(.float64, [m, n], floats: values)]
        ).floats
        let u = rows(result[..<(m * k)], k)
        let s = result[(m * k)..<(m * k + k)].map { $0 / largest }
        let v = rows(result[(m * k + k)...], n)
        #expect(distanceFromIdentity(product(transposed(u), u)) < 1e-13 * Double(k), "\(name)")
        #expect(distanceFromIdentity(product(v, transposed(v))) < 1e-12 * Double(k), "\(name)")
        #expect(s.allSatisfy { $0 >= 0 } && zip(s, s.dropFirst()).allSatisfy { $0 >= $1 })
        let back = product(u.map { row in zip(row, s).map { $0 * $1 } }, v)
        let target = rows(values[...], n).map { $0.map { $0 / largest } }
        #expect(distance(back, target) < 1e-14 * Double(m + n) * 2, "\(name) \(m)x\(n)")
      }
    }
  }

  @Test("Q of hard matrices is orthonormal, and Q R the matrix")
  func hardQR() {
    for (m, n) in [(3, 3), (40, 40), (70, 33), (100, 65)] {
      for (name, values) in Self.hard(m, n) {
        let largest = max(values.reduce(0) { max($0, abs($1)) }, .leastNormalMagnitude)
        let result = Self.run(
          MatrixCall.attribute(.qr), [ReferenceArray(.float64, [m, n], floats: values)]
        ).floats
        let q = rows(result[..<(m * n)], n)
        let r = rows(result[(m * n)...], n).map { $0.map { $0 / largest } }
        #expect(distanceFromIdentity(product(transposed(q), q)) < 1e-13 * Double(n), "\(name)")
        let target = rows(values[...], n).map { $0.map { $0 / largest } }
        #expect(distance(product(q, r), target) < 1e-14 * Double(m), "\(name) \(m)x\(n)")
        #expect(r.indices.allSatisfy { i in r[i][..<i].allSatisfy { $0 == 0 } })
      }
    }
  }

  @Test("What is not a number, or infinite, spoils its own matrix and no other")
  func notNumbers() {
    for bad in [Double.nan, .infinity] {
      // Systems with an infinite coefficient have a solution.
      let spectra: [MatrixRoutine] = [.eigh, .svd, .qr]
      for routine in bad.isNaN ? spectra + [.cholesky, .inverse] : spectra {
        var values = Self.operand(.float64, [2, 3, 3], seed: 5, isDefinite: true).floats
        values[4] = bad
        let one = Self.run(
          MatrixCall.attribute(routine),
          [ReferenceArray(.float64, [1, 3, 3], floats: Array(values[9...]))])
        let both = Self.run(
          MatrixCall.attribute(routine), [ReferenceArray(.float64, [2, 3, 3], floats: values)])
        let expected = one.floats
        var place = 0
        for count in MatrixCall(attribute: MatrixCall.attribute(routine), [1, 3, 3], nil)
          .resultCounts
        {
          let first = both.floats[(2 * place)..<(2 * place + count)]
          let second = both.floats[(2 * place + count)..<(2 * place + 2 * count)]
          #expect(first.contains { $0.isNaN }, "\(routine) \(bad)")
          #expect(Array(second) == Array(expected[place..<(place + count)]), "\(routine) \(bad)")
          place += count
        }
      }
    }
  }
}
