import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Security;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.TimeStampRequestGenerator;
import org.bouncycastle.tsp.TimeStampResponse;
import org.bouncycastle.tsp.ers.ERSArchiveTimeStamp;
import org.bouncycastle.tsp.ers.ERSArchiveTimeStampGenerator;
import org.bouncycastle.tsp.ers.ERSByteData;
import org.bouncycastle.tsp.ers.ERSData;
import org.bouncycastle.tsp.ers.ERSDataGroup;
import org.bouncycastle.tsp.ers.ERSEvidenceRecord;
import org.bouncycastle.tsp.ers.ERSEvidenceRecordGenerator;

/**
 * Makes and renews evidence records (RFC 4998) as an archive with BouncyCastle does, in two steps
 * each: a request to be answered, then what the answer makes. All fields are paths but the first.
 *
 * create: the answer, the folder for the records 0.ers, 1.ers ..., the files, two by two a group.
 * renew: the answer, the record before, the record after. Where there is no answer yet, the request
 * is written beside it, as ANSWER.tsq.
 */
final class EvidenceMaker {
    private static DigestCalculatorProvider digests;

    private EvidenceMaker() {
    }

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        digests = new JcaDigestCalculatorProviderBuilder().setProvider("BC").build();
        Verdicts.answer(EvidenceMaker::make);
    }

    private static void make(String[] fields) throws Exception {
        Path answer = Path.of(fields[1]);
        Path request = Path.of(fields[1] + ".tsq");
        TimeStampRequestGenerator asking = new TimeStampRequestGenerator();
        asking.setCertReq(true);
        boolean isAnswered = Files.exists(answer);
        if (fields[0].equals("renew")) {
            ERSEvidenceRecord record = new ERSEvidenceRecord(read(fields[2]), digests);
            if (isAnswered) {
                TimeStampResponse response = new TimeStampResponse(read(fields[1]));
                Files.write(Path.of(fields[3]), record.renewTimeStamp(response).getEncoded());
            } else {
                Files.write(request, record.generateTimeStampRenewalRequest(asking).getEncoded());
            }
            return;
        }
        ERSArchiveTimeStampGenerator tree =
            new ERSArchiveTimeStampGenerator(
                digests.get(new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256)));
        List<String> paths = Arrays.asList(fields).subList(3, fields.length);
        for (int at = 0; at < paths.size(); at += 2) {
            List<ERSData> group = new ArrayList<>();
            group.add(new ERSByteData(read(paths.get(at))));
            group.add(new ERSByteData(read(paths.get(at + 1))));
            tree.addData(new ERSDataGroup(group));
        }
        if (!isAnswered) {
            Files.write(request, tree.generateTimeStampRequest(asking, BigInteger.ONE).getEncoded());
            return;
        }
        int number = 0;
        for (ERSArchiveTimeStamp stamp :
                tree.generateArchiveTimeStamps(new TimeStampResponse(read(fields[1])))) {
            ERSEvidenceRecord record = new ERSEvidenceRecordGenerator(digests).generate(stamp);
            Files.write(Path.of(fields[2], number++ + ".ers"), record.getEncoded());
        }
    }

    private static byte[] read(String path) throws Exception {
        return Files.readAllBytes(Path.of(path));
    }
}
