// Tests of snapshots: round trips, and every way in which foreign data can be inconsistent.

import Foundation
import LazyGrad
import Testing

@Suite("Snapshots")
struct TensorSnapshotTests {
  @Test("A snapshot restores shape, type and elements", arguments: DType.allCases)
  func roundTrip(_ dtype: DType) throws {
    let x = NDArray([[0.0, 1], [2, 3], [1, 0]], dtype: dtype)
    let snapshot = TensorSnapshot(x)
    let y = try NDArray(snapshot)
    #expect(y.shape == [3, 2])
    #expect(y.dtype == dtype)
    #expect(y.elements(as: Double.self) == x.elements(as: Double.self))
    #expect(!y.sharesMemory(with: x))
    #expect(y.isWriteable)
  }

  @Test("Strided and empty arrays are stored in C order")
  func layouts() throws {
    let x = NDArray([[1, 2, 3], [4, 5, 6]])
    #expect(TensorSnapshot(x.transposed()) == TensorSnapshot(NDArray([[1, 4], [2, 5], [3, 6]])))
    #expect(try NDArray(TensorSnapshot(NDArray.zeros([0, 4]))).shape == [0, 4])
    #expect(try NDArray(TensorSnapshot(NDArray(2.5))).item() == 2.5)
  }

  @Test("Equality is equality of shape, type and bits")
  func equality() {
    #expect(TensorSnapshot(NDArray(Double.nan)) == TensorSnapshot(NDArray(Double.nan)))
    #expect(TensorSnapshot(NDArray(0.0)) != TensorSnapshot(NDArray(-0.0)))
    #expect(TensorSnapshot(NDArray([1.0])) != TensorSnapshot(NDArray(1.0)))
    #expect(TensorSnapshot(NDArray([0], dtype: .int32)) != TensorSnapshot(NDArray([Float(0)])))
  }

  @Test("The coded form is stable")
  func coding() throws {
    let snapshot = TensorSnapshot(NDArray([UInt8(1), 2, 255]))
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let data = try encoder.encode(snapshot)
    #expect(String(decoding: data, as: UTF8.self) == #"{"bytes":"AQL\/","dtype":1,"shape":[3]}"#)
    #expect(try JSONDecoder().decode(TensorSnapshot.self, from: data) == snapshot)
  }

  @Test(
    "Inconsistent data is refused when decoded",
    arguments: [
      (#"{"bytes":"AQL/","dtype":1,"shape":[4]}"#, SnapshotError.byteCount(expected: 4, got: 3)),
      (#"{"bytes":"","dtype":5,"shape":[1]}"#, .byteCount(expected: 8, got: 0)),
      (#"{"bytes":"","dtype":5,"shape":[-1]}"#, .negativeLength(shape: [-1])),
      (#"{"bytes":"","dtype":5,"shape":[0,-2]}"#, .negativeLength(shape: [0, -2])),
      (
        #"{"bytes":"","dtype":1,"shape":[4294967296,4294967296]}"#,
        .tooLarge(shape: [4_294_967_296, 4_294_967_296])
      ),
      (
        #"{"bytes":"","dtype":5,"shape":[4611686018427387904]}"#,
        .tooLarge(shape: [4_611_686_018_427_387_904])
      ),
      (#"{"bytes":"Ag==","dtype":0,"shape":[1]}"#, .invalidBool),
    ])
  func inconsistent(_ json: String, _ expected: SnapshotError) {
    #expect(throws: expected) {
      try JSONDecoder().decode(TensorSnapshot.self, from: Data(json.utf8))
    }
  }

  @Test("Missing parts and unknown element types are decoding errors")
  func undecodable() {
    for json in ["{}", #"{"bytes":"","dtype":77,"shape":[0]}"#, #"{"bytes":3,"dtype":1}"#] {
      #expect(throws: DecodingError.self) {
        try JSONDecoder().decode(TensorSnapshot.self, from: Data(json.utf8))
      }
    }
  }

  @Test("More axes than an array can have are refused")
  func axes() {
    let shape = [Int](repeating: 1, count: 65)
    #expect(throws: SnapshotError.tooManyAxes(65)) {
      try TensorSnapshot(shape: shape, dtype: .uint8, bytes: [0])
    }
  }
}
